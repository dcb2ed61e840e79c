/* A source whose lower one is exchanged while it is read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "block/exchange.h"
#include "contract.h"
#include "fake_source.h"

#define SIZE  (300u << 10)
#define READS 40

static unsigned char content[SIZE], saved[SIZE];

static int make_content(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = saved[i] = (unsigned char)(i * 7 + i / 251);
    return 0;
}

static void restore(void *unused)
{
    (void)unused;
    memcpy(content, saved, SIZE);
}

static struct fake_options options = {content, SIZE, true, 4, 0, "", 8, false};

static struct source *make_exchange(uv_loop_t *loop, void *context, void *arg)
{
    static struct fake_stats stats;
    (void)context;
    (void)arg;
    return exchange_source_new(fake_source_new(loop, &options, &stats));
}

static void exchange_keeps_the_contract(void **unused)
{
    (void)unused;
    struct contract contract = {.content = content, .size = SIZE, .writable = true, .make = make_exchange, .restore = restore};
    contract_check(&contract);
}

/* --- exchanged --- */

struct rig {
    uv_loop_t loop;
    struct source *source, *second;
    bool opened, second_opened, closed;
    struct read {
        struct io io;
        int status; /* 1: none */
    } reads[READS];
};

static void on_opened(struct source *source, int status)
{
    assert_int_equal(status, 0);
    ((struct rig *)source->owner)->opened = true;
}

static void on_second_opened(struct source *source, int status)
{
    assert_int_equal(status, 0);
    ((struct rig *)source->owner)->second_opened = true;
}

static void on_closed(struct source *source)
{
    ((struct rig *)source->owner)->closed = true;
}

static void on_read(struct io *io)
{
    struct read *read = container_of(io, struct read, io);
    read->status = io->status;
    unsigned char *copy = mem_alloc(io->length);
    if (io->status == 0) {
        slices_copy_out(&io->data, 0, copy, io->length);
        assert_memory_equal(copy, saved + io->offset, io->length);
    }
    mem_free(copy);
    slices_clear(&io->data);
}

static void turn_until(struct rig *rig, const bool *flag)
{
    for (int i = 0; i < 10000 && !*flag; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_true(*flag);
}

static void rig_begin(struct rig *rig, struct fake_stats *first, struct fake_stats *second)
{
    memset(rig, 0, sizeof *rig);
    test_loop_begin(&rig->loop);
    rig->source = exchange_source_new(fake_source_new(&rig->loop, &options, first));
    rig->second = fake_source_new(&rig->loop, &options, second);
    rig->source->owner = rig->second->owner = rig;
    rig->source->opened = on_opened;
    rig->source->closed = rig->second->closed = on_closed;
    rig->second->opened = on_second_opened;
    source_open(rig->source);
    source_open(rig->second);
    turn_until(rig, &rig->opened);
    turn_until(rig, &rig->second_opened);
}

static void rig_end(struct rig *rig)
{
    source_close(rig->source);
    turn_until(rig, &rig->closed);
    source_free(rig->source);
    test_loop_end(&rig->loop);
}

static void submit_reads(struct rig *rig)
{
    for (unsigned i = 0; i < READS; i++) {
        rig->reads[i].status = 1;
        io_init(&rig->reads[i].io, IO_READ, i * 7001u, 5000, on_read);
        source_submit(rig->source, &rig->reads[i].io);
    }
}

static bool all_answered(const struct rig *rig, int status)
{
    for (unsigned i = 0; i < READS; i++)
        if (rig->reads[i].status != status)
            return false;
    return true;
}

static void wait_reads(struct rig *rig, int status)
{
    for (int i = 0; i < 10000 && !all_answered(rig, status); i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_true(all_answered(rig, status));
}

static void reads_in_flight_go_on_with_the_new_one(void **unused)
{
    (void)unused;
    struct rig rig;
    struct fake_stats first = {0}, second = {0};
    rig_begin(&rig, &first, &second);
    fake_source_hold(exchange_source_lower(rig.source), true);
    submit_reads(&rig);
    for (int i = 0; i < 50; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_true(all_answered(&rig, 1));
    assert_true(exchange_source_set(rig.source, rig.second));
    wait_reads(&rig, 0);
    assert_int_equal(second.reads, READS);
    assert_ptr_equal(exchange_source_lower(rig.source), rig.second);
    submit_reads(&rig);
    wait_reads(&rig, 0);
    assert_int_equal(first.reads, READS);
    rig_end(&rig);
}

static unsigned told;

static void on_told(struct io *io, const struct slices *data, uint32_t ready)
{
    assert_true(ready >= io->part_at && data->length >= ready);
    io->part_at = ++told == 1 ? 4000 : 0;
}

static void the_beginning_is_told_when_it_is_there(void **unused)
{
    (void)unused;
    struct rig rig;
    struct fake_stats first = {0}, second = {0};
    told = 0;
    rig_begin(&rig, &first, &second);
    struct source *lower = exchange_source_lower(rig.source);
    fake_source_hold(lower, true);
    struct read *read = &rig.reads[0];
    read->status = 1;
    io_init(&read->io, IO_READ, 0, 5000, on_read);
    read->io.part_at = 1000;
    read->io.part = on_told;
    source_submit(rig.source, &read->io);
    static const unsigned expect[][2] = {{500, 0}, {1000, 1}, {3999, 1}, {4000, 2}, {4500, 2}};
    for (unsigned i = 0; i < sizeof expect / sizeof *expect; i++) {
        fake_source_give(lower, expect[i][0]);
        for (int turn = 0; turn < 50; turn++)
            uv_run(&rig.loop, UV_RUN_NOWAIT);
        assert_int_equal(told, expect[i][1]);
    }
    fake_source_hold(lower, false);
    for (int i = 0; i < 10000 && read->status == 1; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(read->status, 0);
    assert_true(exchange_source_set(rig.source, rig.second));
    rig_end(&rig);
}

/* What the one before could not read is no failure of the one that has taken its place. */
static void what_the_one_before_fails_is_asked_again(void **unused)
{
    (void)unused;
    struct rig rig;
    struct fake_stats first = {0}, second = {0};
    rig_begin(&rig, &first, &second);
    fake_source_fail(exchange_source_lower(rig.source), 100);
    submit_reads(&rig);
    assert_true(exchange_source_set(rig.source, rig.second));
    wait_reads(&rig, 0);
    fake_source_fail(rig.second, 100);
    submit_reads(&rig);
    wait_reads(&rig, -EIO);
    rig_end(&rig);
}

static void it_may_close_while_both_are_busy(void **unused)
{
    (void)unused;
    struct rig rig;
    struct fake_stats first = {0}, second = {0};
    rig_begin(&rig, &first, &second);
    fake_source_hold(exchange_source_lower(rig.source), true);
    fake_source_hold(rig.second, true);
    submit_reads(&rig);
    assert_true(exchange_source_set(rig.source, rig.second));
    source_close(rig.source);
    turn_until(&rig, &rig.closed);
    assert_true(all_answered(&rig, -ECANCELED));
    rig_end(&rig);
}

static void one_that_is_closing_takes_nothing(void **unused)
{
    (void)unused;
    struct rig rig;
    struct fake_stats first = {0}, second = {0};
    rig_begin(&rig, &first, &second);
    source_close(rig.source);
    assert_false(exchange_source_set(rig.source, rig.second));
    turn_until(&rig, &rig.closed);
    rig.closed = false;
    source_close(rig.second);
    turn_until(&rig, &rig.closed);
    source_free(rig.second);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchange_keeps_the_contract),
        cmocka_unit_test(reads_in_flight_go_on_with_the_new_one),
        cmocka_unit_test(the_beginning_is_told_when_it_is_there),
        cmocka_unit_test(what_the_one_before_fails_is_asked_again),
        cmocka_unit_test(it_may_close_while_both_are_busy),
        cmocka_unit_test(one_that_is_closing_takes_nothing),
    };
    return cmocka_run_group_tests(tests, make_content, NULL);
}
