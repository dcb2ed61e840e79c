/* A source that a test opens and asks by hand, one thing at a time. */
#ifndef TEST_BLOCK_BY_HAND_H
#define TEST_BLOCK_BY_HAND_H

#include <uv.h>

#include "block/source.h"

/* What opened() said. source_close() frees it, when the loop runs on. */
int by_hand_open(uv_loop_t *loop, struct source *source);
/* Prepares an io for by_hand_ask(), which gives its status. */
void by_hand_io(struct io *io, enum io_op op, uint64_t offset, uint32_t length);
int by_hand_ask(uv_loop_t *loop, struct source *source, struct io *io);

#endif
