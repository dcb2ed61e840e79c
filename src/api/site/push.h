/*
 * Texts that are sent by POST to other servers, as they come to be: the same as api/site/event_streams.h, for
 * those who don't listen here. Each target is sent one text at a time, and asks its owner for the next when that has
 * arrived, so nothing queues up here; the owner keeps texts for slow targets, and no more than it wants to.
 *
 * A text that does not arrive is sent again after a while. After `attempts` in vain the owner is told; a target then
 * sleeps until push_target_resume(), or goes on trying (`forever`; with `backoff` in pauses that double, up to
 * PUSH_PAUSE_MAX_MS). Private to api/.
 */
#ifndef API_SITE_PUSH_H
#define API_SITE_PUSH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"

#define PUSH_TARGETS_MAX  16
#define PUSH_TIMEOUT_MS   20000  /* of one POST */
#define PUSH_PAUSE_MAX_MS 600000
#define PUSH_ERROR_MAX    256
#define PUSH_TICK_MS      1000 /* how often the owner's tick comes */

struct push;
struct push_target;

/* Texts are the owner's, and stay until the target is freed. */
struct push_options {
    const char *url;
    const char *const *fields; /* further fields of the request: "NAME: VALUE", NULL at the end; NULL: none */
    bool verify;               /* the server's certificate */
    bool forever, backoff;
    unsigned attempts;
    uint64_t interval_ms; /* between attempts */
    uint64_t seen;
    /* The next text for a target that has seen up to `seen`, which becomes what it has seen then; for mem_free(). NULL:
     * nothing is new. */
    char *(*next)(void *arg, uint64_t *seen);
    /* An attempt has ended: `error` is "" if the text has arrived. `asleep`: it was the last one. From inside this the
     * target may be freed. */
    void (*attempted)(void *arg, const char *error, bool asleep);
    void *arg;
};

/* `http` says whose certificates are trusted, which addresses may be spoken to, and whether http:// may be; it is looked
 * at for each POST. `tick` comes while there are targets. */
struct push *push_new(uv_loop_t *loop, const struct config_http *http, void (*tick)(void *arg), void *arg);
/* NULL: there are PUSH_TARGETS_MAX. */
struct push_target *push_target_new(struct push *push, const struct push_options *options);
void push_target_set_verify(struct push_target *target, bool verify);
void push_target_set_retry(struct push_target *target, bool forever, bool backoff, unsigned attempts, uint64_t interval_ms);
void push_target_sleep(struct push_target *target);
void push_target_resume(struct push_target *target, uint64_t seen);
void push_target_free(struct push_target *target); /* what is under way is given up */
/* Something is new: it is sent soon, not inside the call. */
void push_wake(struct push *push);
/* All targets must be freed. Frees itself, then `closed`; not inside the call. */
void push_close(struct push *push, void (*closed)(void *arg), void *arg);

#endif
