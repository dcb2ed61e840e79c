/*
 * A source in memory that answers after a random number of the loop's turns, in
 * any order, and fails on command.
 */
#ifndef TEST_BLOCK_FAKE_SOURCE_H
#define TEST_BLOCK_FAKE_SOURCE_H

#include "block/source.h"

struct fake_options {
    unsigned char *content; /* the caller's; writes change it */
    uint64_t size;
    bool writable;
    unsigned delay_max;     /* turns of the loop */
    unsigned fail_percent;  /* reads that fail with EIO */
    const char *identity;
    unsigned parallel;
    bool parts; /* of reads that wait the beginning is there now and then */
};

struct fake_stats {
    unsigned reads, prefetch_reads;
    uint64_t read_bytes, past_end;
    unsigned outstanding;
};

struct source *fake_source_new(uv_loop_t *loop, const struct fake_options *options, struct fake_stats *stats);
/* Reads wait until released; for tests that need them outstanding. */
void fake_source_hold(struct source *source, bool hold);
/* So many bytes are there of each read that waits, if somebody wants to know. */
void fake_source_give(struct source *source, uint32_t ready);
/* From now on percent of reads fail. */
void fake_source_fail(struct source *source, unsigned percent);

#endif
