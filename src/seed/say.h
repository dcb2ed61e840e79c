/* Why a config medium can't be made, in words. Private to seed/. */
#ifndef SEED_SAY_H
#define SEED_SAY_H

#include <stdbool.h>

#include "seed/files.h"

/* Always false. */
__attribute__((format(printf, 2, 3))) bool seed_say(char error[SEED_ERROR_MAX], const char *format, ...);

#endif
