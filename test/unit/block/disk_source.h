/*
 * A disk for tests, that outlasts the sources on it. A write reaches the cache of
 * the system when it is answered, and the medium when a later flush is. A process
 * that is killed leaves of its writes in flight any sectors; a loss of power
 * leaves of each sector that was not flushed the old or the new content.
 */
#ifndef TEST_BLOCK_DISK_SOURCE_H
#define TEST_BLOCK_DISK_SOURCE_H

#include "block/source.h"

#define DISK_SECTOR 512u

struct disk {
    uint64_t size; /* a multiple of the sector */
    unsigned char *now, *stable;
    unsigned char *marks; /* by sector: it is in `dirty` */
    uint32_t *dirty, dirty_count, dirty_room;
    uint32_t *flushing, flushing_count;             /* what the flush under way makes stable */
    unsigned char *flushing_data;                   /* NULL: none is under way */
    bool off;                                       /* killed, or without power: nothing changes any more */
    unsigned delay_max;                             /* turns of the loop */
    unsigned fail_reads, fail_writes, fail_flushes; /* percent; a failed write leaves any of its sectors */
    unsigned reads, writes, flushes;
    struct source *source; /* the last one on it */
};

void disk_begin(struct disk *disk, uint64_t size);
void disk_end(struct disk *disk);
/* The process ends. Its source must still be closed, but changes nothing. */
void disk_kill(struct disk *disk);
/* The power goes: the process ends, too. */
void disk_cut(struct disk *disk);
/* For a new process. */
void disk_on(struct disk *disk);

struct source *disk_source_new(uv_loop_t *loop, struct disk *disk);
/* It is lost, for its owner. */
void disk_source_die(struct disk *disk, int status);

#endif
