/* A command and its answer. Private to ctl. */
#ifndef CTL_CTL_ASK_H
#define CTL_CTL_ASK_H

#include "ctl/ctl_connection.h"

struct ctl_session {
    struct ctl_connection connection;
    bool json;        /* all answers */
    bool interactive; /* a person types, on a terminal */
};

/* Runs the command of these words and shows its answer: an exit code of ctl.h. */
int ctl_ask(struct ctl_session *session, int count, char **words);
/* Runs the commands of stdin until its end; the code of the last one that failed. */
int ctl_ask_all(struct ctl_session *session);
/* The names of the daemon's slots, for `each`; none if it can't be asked. */
void ctl_ask_slots(struct ctl_session *session, void (*each)(void *arg, const char *name), void *arg);

#endif
