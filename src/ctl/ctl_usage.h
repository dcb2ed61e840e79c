/* What the usages of the commands' table say, for who types them: api/control/command.h has their grammar. Pure; private to ctl. */
#ifndef CTL_CTL_USAGE_H
#define CTL_CTL_USAGE_H

#include <stdbool.h>
#include <stddef.h>

#define CTL_WORD_MAX 64

enum ctl_option_kind { CTL_FLAG, CTL_VALUE, CTL_VALUE_OR_NONE };

struct ctl_option {
    enum ctl_option_kind kind;
    char name[CTL_WORD_MAX];
    char value[CTL_WORD_MAX * 2]; /* "yes|no", "FILE"; "" */
    bool dashed;                  /* the daemon knows it with its dashes */
};

/* The options in a usage, one after the other: `*usage` moves behind it. False: there are no more. */
bool ctl_usage_next_option(const char **usage, struct ctl_option *option);
bool ctl_usage_find_option(const char *usage, const char *name, size_t length, struct ctl_option *option);
/* What may stand after these words of a command (the name not counted): calls `may` for each way that the words go, with the
 * alternatives, as "on|off" or "SLOT". */
void ctl_usage_place(const char *usage, int count, char **words, void (*may)(void *arg, const char *alternatives), void *arg);
/* Calls `each` for every one of "a|b|c" that stands for itself, and `meta` for those in capitals. */
void ctl_usage_split(const char *alternatives, void (*each)(void *arg, const char *word), void (*meta)(void *arg, const char *word),
                     void *arg);

#endif
