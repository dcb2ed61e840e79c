/*
 * What is known of a machine, and the placeholders that stand for it: {slot}, {serial}, {uuid} and {mac}. After a $ or
 * another brace, as in ${mac} and {{ mac }}, they are a script's or a template's own, and stay.
 */
#ifndef SEED_FACTS_H
#define SEED_FACTS_H

#include "seed/files.h"

#define SEED_FACT_MAX 128

/* "": not known. */
struct seed_facts {
    char slot[SEED_FACT_MAX], serial[SEED_FACT_MAX], uuid[SEED_FACT_MAX], mac[SEED_FACT_MAX];
    bool pending; /* more may be known in a moment */
};

/* The text with them filled in, for wipe_free(), and its length. NULL: `error` names the one that is not known. */
char *seed_facts_fill(const struct seed_facts *facts, const char *text, size_t length, size_t *filled,
                      char error[SEED_ERROR_MAX]);
/* The same in every file that is text. False: one is not known, and `error` names it and the file. */
bool seed_facts_fill_files(const struct seed_facts *facts, struct seed_files *files, char error[SEED_ERROR_MAX]);

#endif
