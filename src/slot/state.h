/*
 * What outlives the process: RUNTIME-DIR/state.json says which medium is in which
 * slot, so that a daemon that was killed, or stopped to be replaced, goes on where
 * it was. It is written whenever a medium was put in or taken out, in a thread,
 * with mode 0600 and atomically. Secrets are only written when the configuration allows
 * it (state-secrets): otherwise a medium with secrets can't be put in again.
 */
#ifndef SLOT_STATE_H
#define SLOT_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/save.h"
#include "config/config.h"
#include "seed/wish.h"
#include "slot/slot.h"

/* What an insert was given; strings are owned, NULL when not given. */
struct slot_media {
    char slot[CONFIG_SLOT_NAME_MAX];
    char *by; /* who asked; for those who find the slot taken */
    char *url, *user, *password, *bearer_token, *ca_file, *ca_pem, *client_pem, *kernel_args, *menu_timeout, *profile;
    struct seed_wish seed; /* its texts are owned, too */
    bool config;
    bool nfs_ids;         /* not in the file: a medium that was in had been allowed */
    int verify, writable; /* -1: as the config has it */
    /* Of the opened image, to see later whether it is the same one. */
    uint64_t size;
    char *validator;
    unsigned device; /* N of /dev/nbdN */
    uint64_t stay_ms;  /* how long it may stay; 0: until it is ejected */
    uint64_t eject_at; /* loop time, which goes on in another process of the same boot */
    enum slot_until until;
    bool host_was_on; /* since it is in; for SLOT_UNTIL_POWER_OFF */
    const char *tied; /* why another process can't go on with it; NULL: it can; not owned */
};

void slot_media_clear(struct slot_media *media);

struct state {
    struct save save;
    bool secrets;
    struct slot_media *found; /* the media that the file had at the start */
    unsigned found_count;
};

/* Reads the file, if there is one; a damaged one is logged and taken as empty. */
void state_load(struct state *state, uv_loop_t *loop, const char *runtime_dir, bool secrets);
/* The same from the file's content: entries that are not whole are left out. For once, on a state without media. */
void state_take(struct state *state, const json_t *root);
/* The entry of that slot, owned by the state; NULL: none. */
struct slot_media *state_find(struct state *state, const char *slot);
/* Writes the media as the new state; they are only read during the call. */
void state_save(struct state *state, const struct slot_media *const *media, unsigned count);
/* `idle` comes once all is written; inside the call if it is already. */
void state_flush(struct state *state, void (*idle)(void *arg), void *arg);
void state_free(struct state *state);

#endif
