/* "watch" on a terminal: one line that is drawn again each second. Private to ctl. */
#ifndef CTL_CTL_WATCH_H
#define CTL_CTL_WATCH_H

#include "ctl/ctl_connection.h"

/* One of the daemon's lines (JSON) as the line to draw, at most `width` columns; false: it is none. */
bool ctl_watch_draw(const char *json, int width, char *to, size_t size);
/* The command was sent, with --json. Draws until the terminal gives a line or its end, or Ctrl-C, or the daemon's last line, which
 * is returned; NULL: the daemon has gone. */
char *ctl_watch(struct ctl_connection *c);

#endif
