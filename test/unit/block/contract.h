/*
 * The test of the source contract (src/block/source.h), run against every
 * source: the caller says how to make one over a known content.
 */
#ifndef TEST_BLOCK_CONTRACT_H
#define TEST_BLOCK_CONTRACT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "block/source.h"

struct contract {
    /* What the source's content is, before any write. */
    const unsigned char *content;
    uint64_t size;
    bool writable;
    /* Things that outlast one source on one loop; may be NULL. `end` starts
     * closing them: the loop is run until empty afterwards. */
    void *(*begin)(uv_loop_t *loop, void *arg);
    void (*end)(void *context, void *arg);
    struct source *(*make)(uv_loop_t *loop, void *context, void *arg);
    void (*restore)(void *arg); /* puts the content back after writes; NULL: not writable */
    void *arg;
};

/* Asserts (cmocka) that every rule holds. */
void contract_check(const struct contract *contract);

/* A loop with its deferral queue, and its end: asserts that nothing is left. */
void test_loop_begin(uv_loop_t *loop);
void test_loop_end(uv_loop_t *loop);
/* Lets it run: so many turns; so long; until the count is as large, which something on the loop must still bring. */
void test_loop_turns(uv_loop_t *loop, int count);
void test_loop_wait(uv_loop_t *loop, unsigned ms);
void test_loop_until(uv_loop_t *loop, const int *count, int least);

#endif
