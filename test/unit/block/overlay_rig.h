/*
 * An overlay under test, on a fake lower source and a disk, with a record of all
 * that was written: what is read, then or by a later process or after a loss of
 * power, must be what some write left that no later one is known to have replaced.
 */
#ifndef TEST_BLOCK_OVERLAY_RIG_H
#define TEST_BLOCK_OVERLAY_RIG_H

#include "block/overlay.h"
#include "contract.h"
#include "disk_source.h"
#include "fake_source.h"

#define RIG_SIZE  (1024u * 1024 + 1234) /* of the image: not a multiple of anything */
#define RIG_NEVER UINT64_MAX

/* One write, by the rig's clock; `ended` is RIG_NEVER while it is under way. */
struct rig_write {
    uint64_t offset, begun, ended;
    uint32_t length;
    unsigned id; /* of its pattern; 0: zeroes */
    bool good;   /* answered with 0: it is there */
    bool stable; /* FUA, and good */
};

struct rig {
    uv_loop_t loop;
    unsigned char *lower; /* the image below, RIG_SIZE bytes */
    unsigned char *base;  /* what `writes` were written over */
    struct fake_options lower_options;
    struct fake_stats lower_stats;
    struct source *lower_source;
    struct disk disk;
    struct overlay_options options;
    struct source *overlay; /* NULL: none */

    uint64_t clock;
    struct rig_write *writes; /* everything since the disk was new, or the power went */
    uint32_t count, room;
    uint64_t flushed;               /* when the last good FLUSH began */
    unsigned outstanding, failures; /* ios; those that failed */
    bool may_fail;

    int opened, opened_status, closed, died, died_status;
    char error[SOURCE_ERROR_MAX]; /* the overlay's, when it was closed or killed */
};

/* A store for `blocks` blocks of 4 KiB. */
void rig_begin(struct rig *rig, uint32_t blocks);
void rig_begin_open(struct rig *rig, uint32_t blocks); /* the overlay too */
void rig_end(struct rig *rig);

void rig_start(struct rig *rig); /* opening has begun */
/* Gives what `opened` brought. */
int rig_open(struct rig *rig);
void rig_close(struct rig *rig);
/* The process ends: what is under way ends nowhere. */
void rig_kill(struct rig *rig);
void rig_cut(struct rig *rig);

/* One io; what is read is checked. */
void rig_submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length);
void rig_submit_random(struct rig *rig); /* reads and writes of odd ranges, zeroes, flushes */
void rig_run_random(struct rig *rig, int ios); /* so many of these, a dozen at a time */
void rig_turn(struct rig *rig);
void rig_wait(struct rig *rig); /* until nothing is outstanding */
/* Submits and waits; gives the status. */
int rig_do(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length);

/* Reads and checks all of the image. With `after_cut` only what was flushed must
 * have lasted; what is there then counts from now on. */
void rig_check(struct rig *rig, bool after_cut);

#endif
