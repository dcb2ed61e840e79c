/*
 * The line for the daemon, from words as they are typed: --user bob as user=bob, by the command's usage; secrets from files and from
 * the terminal; paths made absolute, since the daemon is elsewhere. Private to ctl.
 */
#ifndef CTL_CTL_LINE_H
#define CTL_CTL_LINE_H

#include "api/control/control.h"
#include "ctl/ctl_connection.h"

struct ctl_line {
    char text[CONTROL_LINE_MAX]; /* may hold secrets: for ctl_line_clear() */
    size_t used;
    bool overflow;
    bool broken;   /* a word has a line's end in it, behind which the daemon would see another command */
    bool json;     /* --json was among the words */
    bool has_user, has_password;
    char name[32]; /* of the command */
};

/* Asked on the terminal when `ask` is set and a user has no password. False: error says what is wrong. */
bool ctl_line_make(struct ctl_line *line, int count, char **words, bool ask, char error[CTL_ERROR_MAX]);
bool ctl_line_add(struct ctl_line *line, const char *word); /* one more word, quoted as it needs to be */
void ctl_line_clear(struct ctl_line *line);

#endif
