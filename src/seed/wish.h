/*
 * What somebody who inserts says of a machine's own settings, and of what its image boots: one list, by which every door,
 * the state file and the comparison of two inserts go.
 */
#ifndef SEED_WISH_H
#define SEED_WISH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "seed/facts.h"

/* Texts; NULL or "": not given. */
struct seed_wish {
    const char *files;        /* the config medium's files as JSON (a secret); else they are read from the image's URL */
    const char *kind, *label; /* of the config medium */
    const char *network_data, *network_kind; /* seed/network.h */
    const char *menu_default; /* image/boot_menu.h */
    const char *image_files;  /* seed/image_files.h: JSON (a secret), or the URL of such */
    const char *serial, *uuid, *mac;         /* what placeholders stand for */
};

/* One text of a wish. */
struct seed_wish_text {
    const char *name;    /* "config-kind", as a command and the configuration say it */
    const char *member;  /* "ConfigKind", as Redfish does below Oem.NbdProxy */
    const char *page;    /* "configKind", as the page's API does */
    size_t offset;       /* in struct seed_wish */
    bool medium;         /* says that what is inserted is a config medium */
    const char *const *values; /* those that it may have, ended by NULL; NULL: any */
};
extern const struct seed_wish_text seed_wish_texts[];
#define SEED_WISH_TEXTS 10

static inline const char **seed_wish_text(const struct seed_wish *wish, unsigned i)
{
    return (const char **)((char *)(uintptr_t)wish + seed_wish_texts[i].offset);
}

bool seed_wish_may_be(unsigned i, const char *text); /* one of the values of the text `i` */
/* A copy of all its texts, for seed_wish_clear(), which overwrites those that are secret. */
struct seed_wish seed_wish_copy(const struct seed_wish *wish);
void seed_wish_clear(struct seed_wish *wish);
bool seed_wish_equal(const struct seed_wish *a, const struct seed_wish *b); /* NULL and "" are the same */
bool seed_wish_any(const struct seed_wish *wish);
bool seed_wish_is_medium(const struct seed_wish *wish); /* the files, their kind or the label are given */
bool seed_wish_has_secrets(const struct seed_wish *wish); /* files that came with the insert itself */
/* To and from members of an object, by their names. */
void seed_wish_put(const struct seed_wish *wish, json_t *object);
struct seed_wish seed_wish_get(const json_t *object);
/* What is wrong with it, as far as is known before the files are. NULL: nothing. */
const char *seed_wish_problem(const struct seed_wish *wish);
/* Puts what the wish says of the machine over what is known otherwise. */
void seed_wish_facts(const struct seed_wish *wish, struct seed_facts *facts);
/* Makes further kernel arguments: placeholders filled in `arguments` (NULL: none), the network behind them. The result is
 * for mem_free(); NULL: `error` says why there is none, or is "" if there are none to give. */
char *seed_wish_arguments(const struct seed_wish *wish, const struct seed_facts *facts, const char *arguments,
                          char error[SEED_ERROR_MAX]);
/* Makes of a config medium's files what its kind's reader looks for: placeholders filled, folders, and files that follow
 * from the rest. May be called on any thread. */
bool seed_wish_complete(const struct seed_wish *wish, const struct seed_facts *facts, struct seed_files *files,
                        char error[SEED_ERROR_MAX]);
const char *seed_wish_label(const struct seed_wish *wish); /* of the config medium */

#endif
