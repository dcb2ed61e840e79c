/* What may be typed next, for shells: nbd-proxyctl --complete WORD... Private to ctl. */
#ifndef CTL_CTL_COMPLETE_H
#define CTL_CTL_COMPLETE_H

#include "ctl/ctl_ask.h"

#define CTL_COMPLETE_FILES ":files" /* a line that stands for the names of files */

/* Prints what may stand in place of the last word, a line each; the shell chooses by what was typed of it. */
void ctl_complete(struct ctl_session *session, int count, char **words, const char *const *options);

#endif
