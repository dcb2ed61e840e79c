/*
 * The link to one origin (a scheme, a host and a port), which all slots that read from there share: what one of them
 * measures holds for the others, and who reads ahead takes an equal part of it. The set keeps a link for
 * as long as somebody is on it. Pure: the caller gives the time.
 */
#ifndef LINK_SHARED_H
#define LINK_SHARED_H

#include "base/list.h"
#include "link/estimate.h"
#include "link/gain.h"

#define LINK_AHEAD_US 2000000 /* who has read ahead lately will do so again */

struct links {
    struct link list; /* struct shared_link */
};

struct shared_link {
    struct link link; /* in the set; alone: of no set */
    char *origin;
    struct link users;
    struct link_estimate estimate;
    struct link_gain gain;
    unsigned requests; /* ranges in flight, of all users */
    uint64_t due;      /* bytes of them that are still to come */
};

struct link_user {
    struct link link; /* in shared->users */
    struct shared_link *shared;
    /* Bytes of its ranges that came since it was asked last. Each is asked when one learns of something: what is counted late
     * would look like a burst. */
    uint64_t (*arrived)(struct link_user *user);
    uint64_t ahead_until_us;
};

void links_init(struct links *set);
/* `set` NULL: a link that nobody else is on. */
void link_join(struct links *set, struct link_user *user, const char *origin, uint64_t (*arrived)(struct link_user *user));
void link_leave(struct link_user *user); /* no range of it is in flight */

/* A range of so many bytes is asked for; something may have come; it has ended with the rest not come. */
void link_asked(struct link_user *user, uint64_t length, uint64_t now_us);
void link_look(struct link_user *user, uint64_t now_us);
void link_ended(struct link_user *user, uint64_t rest, uint64_t now_us);
/* An answer began so long after it was asked for; `quiet`: see link_round_trip(). */
void link_began(struct link_user *user, uint64_t first_byte_us, bool quiet, uint64_t now_us);
/* What is asked for now meets no queue of ours. */
bool link_is_quiet(const struct link_user *user);

void link_reads_ahead(struct link_user *user, uint64_t now_us);
/* How many read ahead on this link, the user counted in any case. */
unsigned link_sharers(const struct link_user *user, uint64_t now_us);

#endif
