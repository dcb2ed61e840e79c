/*
 * How many requests a server bears at a time. Pure policy: additive increase, multiplicative or sharper decrease. A
 * request that is refused (429, 503, no connection) while others are served was one too many, so no more are started
 * than were left. From then on one more is tried after PARALLEL_RAISE_MS, and after twice as long each time that the
 * server refuses one again. A server that refuses all requests says nothing of how many it bears: parallel_down()
 * undoes what those refusals did.
 */
#ifndef REMOTE_PARALLEL_H
#define REMOTE_PARALLEL_H

#include <stdbool.h>
#include <stdint.h>

#define PARALLEL_RAISE_MS     5000
#define PARALLEL_RAISE_MAX_MS 80000

struct parallel {
    unsigned most, limit; /* requests at a time: the bound, and what the server bears now */
    unsigned before;   /* the limit before the refusals that no success has followed yet; 0: there are none */
    uint64_t raise_ms; /* from a refusal, or the last raise, to the next raise */
    uint64_t raise_at; /* no raise before that; loop time, ms */
    bool raised;       /* the limit was raised since the last refusal */
};

void parallel_init(struct parallel *parallel, unsigned most);
/* `others`: requests in flight beside the one that was refused. False: there were none, so that this is the server's
 * trouble, not ours. */
bool parallel_refused(struct parallel *parallel, unsigned others, uint64_t now_ms);
void parallel_succeeded(struct parallel *parallel, uint64_t now_ms);
void parallel_down(struct parallel *parallel);

#endif
