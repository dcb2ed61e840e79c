/*
 * The link to one origin (a scheme, a host and a port), which all slots that read from there share: what one of them
 * measures holds for the others, and those that read ahead take equal parts of the link. The set keeps a link for as
 * long as the link has a user. Pure: the caller gives the time.
 */
#ifndef LINK_SHARED_H
#define LINK_SHARED_H

#include "base/list.h"
#include "link/estimate.h"
#include "link/gain.h"

#define LINK_AHEAD_US 2000000 /* a user that read ahead so lately will do so again */

struct links {
    struct link list; /* struct shared_link */
};

struct shared_link {
    struct link link; /* in the set's list; alone: the link is in no set */
    char *origin;
    struct link users; /* struct link_user */
    struct link_estimate estimate;
    struct link_gain gain;
    unsigned requests; /* ranges in flight, of all users */
    uint64_t due;      /* bytes of these ranges that are still to come */
};

struct link_user {
    struct link link; /* in shared->users */
    struct shared_link *shared;
    /* Returns the bytes of the user's ranges that came since the last call. Each look of one user asks all of them:
     * bytes that are counted late would look like a burst. */
    uint64_t (*arrived)(struct link_user *user);
    uint64_t ahead_until_us; /* until then the user counts among those that read ahead */
};

void links_init(struct links *set);
/* Fills the user in, and puts it on the link to the origin. `set` NULL: on a link that nobody else is on. */
void link_join(struct links *set, struct link_user *user, const char *origin, uint64_t (*arrived)(struct link_user *user));
void link_leave(struct link_user *user); /* no range of the user is in flight */

/* A range of `length` bytes is asked for. */
void link_asked(struct link_user *user, uint64_t length, uint64_t now_us);
/* Bytes may have come, of any user: counts them. */
void link_look(struct link_user *user, uint64_t now_us);
/* A range has ended, and `rest` bytes of it had not come. */
void link_ended(struct link_user *user, uint64_t rest, uint64_t now_us);
/* An answer's first byte came so long after the range was asked for; `quiet`: see link_round_trip(). */
void link_began(struct link_user *user, uint64_t first_byte_us, bool quiet, uint64_t now_us);
/* No range of any user is in flight: one that is asked for now meets no queue of ours. */
bool link_is_quiet(const struct link_user *user);

void link_reads_ahead(struct link_user *user, uint64_t now_us);
/* How many users read ahead on this link; this user is counted in any case. */
unsigned link_sharers(const struct link_user *user, uint64_t now_us);

#endif
