#include "seed/say.h"

#include <stdarg.h>
#include <stdio.h>

bool seed_say(char error[SEED_ERROR_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, SEED_ERROR_MAX, format, args);
    va_end(args);
    return false;
}
