#include "link/shared.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

void links_init(struct links *set)
{
    list_init(&set->list);
}

static struct shared_link *shared_new(const char *origin)
{
    struct shared_link *shared = mem_alloc(sizeof *shared);
    shared->origin = mem_strdup(origin);
    list_init(&shared->link);
    list_init(&shared->users);
    return shared;
}

static struct shared_link *shared_find(struct links *set, const char *origin)
{
    list_for_each (l, &set->list) {
        struct shared_link *shared = container_of(l, struct shared_link, link);
        if (strcmp(shared->origin, origin) == 0)
            return shared;
    }
    return NULL;
}

void link_join(struct links *set, struct link_user *user, const char *origin, uint64_t (*arrived)(struct link_user *user))
{
    struct shared_link *shared = set ? shared_find(set, origin) : NULL;
    if (!shared) {
        shared = shared_new(origin);
        if (set)
            list_append(&set->list, &shared->link);
    }
    *user = (struct link_user){.shared = shared, .arrived = arrived};
    list_append(&shared->users, &user->link);
}

void link_leave(struct link_user *user)
{
    struct shared_link *shared = user->shared;
    list_remove(&user->link);
    user->shared = NULL;
    if (!list_empty(&shared->users))
        return;
    assert(shared->requests == 0 && shared->due == 0);
    list_remove(&shared->link);
    mem_free(shared->origin);
    mem_free(shared);
}

/* Less is under way than the link holds: the rate measured now is what was asked for, not what it gives. */
static bool is_limited(const struct shared_link *shared)
{
    return shared->due < link_bandwidth(&shared->estimate) / 1000 * shared->estimate.rtt_us / 1000;
}

void link_asked(struct link_user *user, uint64_t length, uint64_t now_us)
{
    struct shared_link *shared = user->shared;
    if (shared->requests++ == 0)
        link_busy(&shared->estimate, now_us);
    shared->due += length;
}

void link_look(struct link_user *user, uint64_t now_us)
{
    struct shared_link *shared = user->shared;
    uint64_t bytes = 0;
    list_for_each (l, &shared->users) {
        struct link_user *other = container_of(l, struct link_user, link);
        bytes += other->arrived(other);
    }
    shared->due -= bytes < shared->due ? bytes : shared->due;
    if (is_limited(shared))
        link_limited(&shared->estimate);
    uint64_t rate = link_received(&shared->estimate, bytes, now_us);
    if (rate)
        link_gain_rate(&shared->gain, rate, is_limited(shared), shared->estimate.rtt_us, now_us);
}

void link_began(struct link_user *user, uint64_t first_byte_us, bool quiet, uint64_t now_us)
{
    link_round_trip(&user->shared->estimate, first_byte_us, quiet, now_us);
    if (!quiet)
        link_gain_late(&user->shared->gain, first_byte_us);
}

void link_ended(struct link_user *user, uint64_t rest, uint64_t now_us)
{
    struct shared_link *shared = user->shared;
    shared->due -= rest < shared->due ? rest : shared->due;
    if (--shared->requests > 0)
        return;
    shared->due = 0;
    link_idle(&shared->estimate, now_us);
}

bool link_is_quiet(const struct link_user *user)
{
    return user->shared->requests == 0;
}

void link_reads_ahead(struct link_user *user, uint64_t now_us)
{
    user->ahead_until_us = now_us + LINK_AHEAD_US;
}

unsigned link_sharers(const struct link_user *user, uint64_t now_us)
{
    unsigned count = 0;
    list_for_each (l, &user->shared->users) {
        const struct link_user *other = container_of(l, struct link_user, link);
        count += other == user || other->ahead_until_us > now_us;
    }
    return count;
}
