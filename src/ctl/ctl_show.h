/* What is written on stdout and stderr: colours on a terminal, and none where NO_COLOR is set (no-color.org). Private to ctl. */
#ifndef CTL_CTL_SHOW_H
#define CTL_CTL_SHOW_H

#include <stdbool.h>

enum ctl_colours { CTL_COLOURS_AUTO, CTL_COLOURS_ALWAYS, CTL_COLOURS_NEVER };

void ctl_show_setup(enum ctl_colours colours);
/* The beginning and the end of a colour on stdout (or stderr); "" where there are none. */
const char *ctl_green(void);
const char *ctl_yellow(void);
const char *ctl_bold(void);
const char *ctl_plain(void);
/* A line of an answer, on stdout: states, warnings and errors in it have their colours. */
void ctl_show_line(const char *line);
/* A line of JSON, on stdout: it has no control characters but DEL and C1 (U+0080 to U+009F), and those are escaped. */
void ctl_show_json(const char *line);
/* On stderr, behind the program's name. */
void ctl_show_error(const char *text);
/* The terminal's columns; 80 if it does not tell. */
int ctl_show_width(void);

#endif
