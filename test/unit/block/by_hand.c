#include "by_hand.h"

#include "../cmocka_all.h"

#define WAITS 1

static int answer;

static void on_by_hand_opened(struct source *source, int status)
{
    (void)source;
    answer = status;
}

static void on_by_hand_closed(struct source *source)
{
    source_free(source);
}

static void on_by_hand_done(struct io *io)
{
    answer = io->status;
}

static int wait_for_answer(uv_loop_t *loop)
{
    while (answer == WAITS)
        assert_true(uv_run(loop, UV_RUN_ONCE) || answer != WAITS);
    return answer;
}

int by_hand_open(uv_loop_t *loop, struct source *source)
{
    source->opened = on_by_hand_opened;
    source->closed = on_by_hand_closed;
    answer = WAITS;
    source_open(source);
    return wait_for_answer(loop);
}

void by_hand_io(struct io *io, enum io_op op, uint64_t offset, uint32_t length)
{
    io_init(io, op, offset, length, on_by_hand_done);
}

int by_hand_ask(uv_loop_t *loop, struct source *source, struct io *io)
{
    answer = WAITS;
    source_submit(source, io);
    return wait_for_answer(loop);
}
