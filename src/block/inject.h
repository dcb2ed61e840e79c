/*
 * A source on a source that reads like the one below, but for a few pieces that are other bytes, and perhaps a new end.
 * What the pieces are is found by a planner, which reads the lower source once that is open; only then is this one.
 * What lies outside the pieces is handed straight on, so a cache below has the image as it is, and shares it with
 * whoever reads that image with other pieces. It takes no writes; an overlay on it does.
 */
#ifndef BLOCK_INJECT_H
#define BLOCK_INJECT_H

#include "block/source.h"

/* Bytes that stand in place of the image's. */
struct inject_piece {
    uint64_t offset;
    struct bytes *bytes;
};

struct inject_planner;
struct inject_planner_ops {
    /* Finds the pieces by reading `lower`, which is open. Calls planned() once, never inside this call; when `lower`
     * is closed meanwhile, no later than its last io is answered. */
    void (*begin)(struct inject_planner *planner, struct source *lower);
    /* `lower` is being closed while planned() has not come: now it comes as soon as it can, and may be later than the last
     * io. NULL: it comes no later. */
    void (*stop)(struct inject_planner *planner);
    void (*free)(struct inject_planner *planner); /* and all that it made; nothing of it is under way */
};

struct inject_planner {
    const struct inject_planner_ops *ops;
    /* The plan, valid from planned(0); the planner's. Pieces are in order, apart from each other, and end at `size` at
     * the latest, which is no less than the image's. */
    struct inject_piece *pieces;
    unsigned count;
    uint64_t size;
    char error[SOURCE_ERROR_MAX]; /* why there is none */
    /* Set by inject_source_new(). */
    void (*planned)(struct inject_planner *planner, int status);
    void *owner;
};

/* Owns both. */
struct source *inject_source_new(struct source *lower, struct inject_planner *planner);
struct source *inject_source_lower(const struct source *source);
struct inject_planner *inject_source_planner(const struct source *source);

#endif
