/*
 * What the host has of a link, in virtual time: how fast an image is read in order, how long a read waits, what is
 * fetched in vain. Ratios to one download over the same link, as curl would make it. SIM_TABLE=1 prints them all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/cmocka_all.h"
#include "base/defer.h"
#include "base/log.h"
#include "base/text.h"
#include "sim.h"

#define KB 1000ull
#define MB 1000000ull
#define MIB (1u << 20)
#define CACHE (64ull << 20)
#define SLOTS_MAX 8
#define SECOND 1000000ull

static uv_loop_t loop;
static struct links links;

/* --- what the boot of a live system reads --- */

struct trace {
    uint64_t size;
    unsigned count;
    struct {
        uint64_t offset;
        uint32_t length;
    } reads[4096];
};

static struct trace live;

/* bench/live/boot.trace: sectors, and microseconds that are left out here. */
static void trace_load(void)
{
    const char *folder = getenv("srcdir");
    char path[512], line[128];
    unsigned long long offset, length;
    snprintf(path, sizeof path, "%s/bench/live/boot.trace", folder ? folder : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    live.count = 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "size %llu", &offset) == 1) {
            live.size = offset * 512;
        } else if (sscanf(line, "%llu %llu", &offset, &length) == 2 && live.count < 4096) {
            live.reads[live.count].offset = offset * 512;
            live.reads[live.count++].length = (uint32_t)length * 512;
        }
    }
    fclose(file);
    assert_true(live.size > 0 && live.count > 1000);
}

/* --- a slot and who reads from it --- */

struct reader {
    struct source *source;
    bool opened, closed;
    struct io io;
    bool waiting;
    uint64_t size, at, end, asked_us;
    uint32_t length;
    uint64_t random; /* state of the generator; 0: in order */
    const struct trace *trace; /* NULL: none; else `at` and `end` count its reads */
    /* what was met */
    uint64_t reads, bytes, total_us, worst_us, stalls;
    uint32_t waits[4096]; /* of the last reads, us */
};

static void on_opened(struct source *source, int status)
{
    struct reader *reader = source->owner;
    assert_int_equal(status, 0);
    reader->opened = true;
}

static void on_closed(struct source *source)
{
    ((struct reader *)source->owner)->closed = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void reader_open(struct reader *reader, struct cache *cache, struct sim_link *link, uint64_t size, unsigned connections)
{
    memset(reader, 0, sizeof *reader);
    reader->size = size;
    reader->source = cache_source_new(cache, sim_source_new(&loop, link, &links, size, connections), true);
    cache_source_record(reader->source);
    cache_source_align(reader->source); /* as it is by default */
    reader->source->owner = reader;
    reader->source->opened = on_opened;
    reader->source->closed = on_closed;
    source_open(reader->source);
    assert_true(sim_run(is_true, &reader->opened, UINT64_MAX));
}

static void reader_close(struct reader *reader)
{
    source_close(reader->source);
    assert_true(sim_run(is_true, &reader->closed, UINT64_MAX));
    source_free(reader->source);
}

static void on_read(struct io *io);

static void reader_next(struct reader *reader)
{
    uint32_t length = (uint32_t)(reader->end - reader->at < reader->length ? reader->end - reader->at : reader->length);
    uint64_t offset = reader->at;
    if (reader->trace) {
        offset = reader->trace->reads[reader->at].offset;
        length = reader->trace->reads[reader->at].length;
    }
    if (reader->random) {
        reader->random = reader->random * 6364136223846793005ull + 1442695040888963407ull;
        offset = (reader->random >> 16) % (reader->size / 4096) * 4096;
    }
    io_init(&reader->io, IO_READ, offset, length, on_read);
    reader->asked_us = sim_now_us();
    reader->waiting = true;
    source_submit(reader->source, &reader->io);
}

static void on_read(struct io *io)
{
    struct reader *reader = container_of(io, struct reader, io);
    uint64_t waited = sim_now_us() - reader->asked_us;
    reader->waiting = false;
    if (io->status == -ECANCELED) /* it was closed */
        return;
    assert_int_equal(io->status, 0);
    slices_clear(&io->data);
    reader->waits[reader->reads++ % 4096] = (uint32_t)waited;
    reader->bytes += io->length;
    reader->total_us += waited;
    reader->stalls += waited > 20000;
    reader->worst_us = waited > reader->worst_us ? waited : reader->worst_us;
    reader->at += reader->trace ? 1 : reader->length;
    if (reader->at < reader->end)
        reader_next(reader);
}

static void reader_begin(struct reader *reader, uint64_t offset, uint64_t bytes, uint32_t length, uint64_t random)
{
    reader->at = offset;
    reader->end = offset + bytes;
    reader->length = length;
    reader->random = random;
    reader_next(reader);
}

static bool reader_ended(void *arg)
{
    struct reader *reader = arg;
    return !reader->waiting && reader->at >= reader->end;
}

/* --- measurements --- */

static void check(const struct sim_link_options *options, const char *what, double value, double least, double most)
{
    if (value < least || value > most)
        fail_msg("%s: %.3f %s is not %.2f to %.2f", options->name, value, what, least, most);
}

static bool table(void)
{
    return getenv("SIM_TABLE") != NULL;
}

struct outcome {
    double ratio, worst_s, waste;
};

/* In order, `seconds` of the link's time. */
static struct outcome sequential(const struct sim_link_options *options, unsigned connections, double seconds)
{
    struct outcome out;
    struct cache *cache = cache_new(CACHE, 4 << 20);
    struct sim_link *link = sim_link_new(options);
    struct reader *reader = calloc(1, sizeof *reader);
    uint64_t rate = options->rate ? options->rate : 1000 * MB;
    uint64_t bytes = (uint64_t)((double)rate * seconds) / 131072 * 131072 + 131072;
    reader_open(reader, cache, link, bytes * 4, connections);
    uint64_t start = sim_now_us(), before = sim_link_carried(link);
    reader_begin(reader, 0, bytes, 131072, 0);
    assert_true(sim_run(reader_ended, reader, start + 3600 * SECOND));
    uint64_t took = sim_now_us() - start, carried = sim_link_carried(link) - before;
    uint64_t curl = sim_download(options, bytes, connections < 16 ? connections : 1);
    out = (struct outcome){(double)curl / (double)took, (double)reader->worst_us / 1e6, (double)carried / (double)bytes};
    if (table())
        printf("%-28s %2u connections: %8.2f s, %5.2f of curl, worst read %6.2f s, %5.2f fetched, %u opened, estimate %.2f MB/s %u ms gain %u\n",
               options->name, connections, (double)took / 1e6, out.ratio, out.worst_s, out.waste, sim_link_opened(link),
               (double)reader->source->stats.bandwidth / 1e6, (unsigned)(reader->source->stats.rtt_us / 1000), reader->source->stats.gain);
    reader_close(reader);
    sim_link_free(link);
    cache_free(cache);
    free(reader);
    return out;
}

static const struct sim_link_options kinds[] = {
    {.name = "5 Mbit/s 150 ms fair", .rate = 625 * KB, .rtt_us = 150000},
    {.name = "5 Mbit/s 150 ms FIFO", .rate = 625 * KB, .rtt_us = 150000, .queue = SIM_FIFO},
    {.name = "20 Mbit/s 50 ms fair", .rate = 2500 * KB, .rtt_us = 50000},
    {.name = "20 Mbit/s 150 ms fair", .rate = 2500 * KB, .rtt_us = 150000},
    {.name = "20 Mbit/s 150 ms FIFO", .rate = 2500 * KB, .rtt_us = 150000, .queue = SIM_FIFO},
    {.name = "100 Mbit/s 10 ms fair", .rate = 12500 * KB, .rtt_us = 10000},
    {.name = "100 Mbit/s 100 ms fair", .rate = 12500 * KB, .rtt_us = 100000},
    {.name = "100 Mbit/s 100 ms FIFO", .rate = 12500 * KB, .rtt_us = 100000, .queue = SIM_FIFO},
    {.name = "100 Mbit/s 600 ms fair", .rate = 12500 * KB, .rtt_us = 600000},
    {.name = "1 Gbit/s 10 ms fair", .rate = 125 * MB, .rtt_us = 10000},
    {.name = "1 Gbit/s 50 ms fair", .rate = 125 * MB, .rtt_us = 50000},
    {.name = "1 Gbit/s 50 ms FIFO", .rate = 125 * MB, .rtt_us = 50000, .queue = SIM_FIFO},
    {.name = "1 Gbit/s 50 ms restart", .rate = 125 * MB, .rtt_us = 50000, .idle_restart = true},
    {.name = "1 Gbit/s 200 ms fair", .rate = 125 * MB, .rtt_us = 200000},
};

static void an_image_is_read_in_order_as_fast_as_it_is_downloaded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    {
        struct outcome out = sequential(&kinds[i], 16, kinds[i].rate > 20 * MB ? 8 : 30);
        check(&kinds[i], "of curl's rate", out.ratio, kinds[i].idle_restart ? 0.85 : 0.94, 10);
        check(&kinds[i], "seconds of the longest read", out.worst_s, 0, kinds[i].rtt_us > 300000 ? 6 : 2);
    }
}

static void few_connections_are_enough(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 4};
    for (size_t i = 0; i < 3; i++)
    {
        struct outcome out = sequential(&kinds[10], counts[i], 4);
        check(&kinds[10], "of curl's rate by few connections", out.ratio, counts[i] == 1 ? 0.65 : 0.8, 10);
    }
}

/* --- a live system's boot --- */

struct boot {
    double seconds, fetched; /* MB */
    unsigned stalls;
};

/* By the profile, if there is one; what was read is recorded. */
static struct boot live_boot(const struct sim_link_options *options, const struct trace *trace, const struct profile *profile,
                             struct profile *recorded)
{
    struct cache *cache = cache_new(CACHE, 4 << 20);
    struct sim_link *link = sim_link_new(options);
    struct reader *reader = calloc(1, sizeof *reader);
    reader_open(reader, cache, link, trace->size, 16);
    uint64_t start = sim_now_us(), before = sim_link_carried(link);
    if (profile)
        assert_true(cache_source_follow(reader->source, profile));
    reader->trace = trace;
    reader_begin(reader, 0, trace->count, 1, 0);
    assert_true(sim_run(reader_ended, reader, start + 3600 * SECOND));
    if (table())
        printf("estimate %.2f MB/s, %u connections: ", (double)reader->source->stats.bandwidth / 1e6, sim_link_opened(link));
    struct boot out = {(double)(sim_now_us() - start) / 1e6, (double)(sim_link_carried(link) - before) / 1e6,
                       (unsigned)reader->stalls};
    if (recorded)
        *recorded = *cache_source_recorded(reader->source);
    reader_close(reader);
    sim_link_free(link);
    cache_free(cache);
    free(reader);
    return out;
}

struct arrival {
    uint64_t length;
    bool all;
};

static void on_block(void *arg, uint64_t received)
{
    struct arrival *arrival = arg;
    arrival->all = received == arrival->length;
}

/* As nbdkit's cow filter reads: whole blocks when they are wanted, one after the other, on one connection. */
static struct boot cow_boot(const struct sim_link_options *options, uint32_t block)
{
    struct sim_link *link = sim_link_new(options);
    struct sim_connection *connection = sim_connection_new(link);
    bool *there = calloc(live.size / block + 1, sizeof *there);
    uint64_t start = sim_now_us();
    struct boot out = {0};
    for (unsigned i = 0; i < live.count; i++) {
        uint64_t asked = sim_now_us();
        for (uint64_t b = live.reads[i].offset / block; b * block < live.reads[i].offset + live.reads[i].length; b++) {
            struct arrival arrival = {.length = block};
            if (there[b])
                continue;
            there[b] = true;
            sim_connection_ask(connection, block, on_block, &arrival);
            assert_true(sim_run(is_true, &arrival.all, UINT64_MAX));
        }
        out.stalls += sim_now_us() - asked > 20000;
    }
    out.seconds = (double)(sim_now_us() - start) / 1e6;
    out.fetched = (double)sim_link_carried(link) / 1e6;
    sim_connection_close(connection);
    sim_link_free(link);
    free(there);
    return out;
}

static void a_live_system_boots_sooner_than_with_fixed_blocks(void **state)
{
    (void)state;
    static const uint32_t blocks[] = {64 << 10, 256 << 10, 1 << 20, 4 << 20};
    uint64_t read = 0;
    trace_load();
    for (unsigned i = 0; i < live.count; i++)
        read += live.reads[i].length;
    if (table())
        printf("live: %u reads of %.1f MB\n", live.count, (double)read / 1e6);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct boot ours = live_boot(&kinds[i], &live, NULL, NULL);
        if (table())
            printf("%-28s live: %6.2f s, %4u stalls, %6.1f MB; cow", kinds[i].name, ours.seconds, ours.stalls, ours.fetched);
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
            struct boot cow = cow_boot(&kinds[i], blocks[b]);
            if (table())
                printf(" %uK %.2f s %u %.0f MB,", blocks[b] >> 10, cow.seconds, cow.stalls, cow.fetched);
            if (blocks[b] < MIB)
                check(&kinds[i], "of cow's time", ours.seconds / cow.seconds, 0, 1);
            else if (blocks[b] == MIB)
                check(&kinds[i], "of cow's time", ours.seconds / cow.seconds, 0, kinds[i].idle_restart ? 1.5 : 1.15);
        }
        check(&kinds[i], "fetched of what was read", ours.fetched * 1e6 / (double)read, 1, 2.6);
        if (table())
            puts("");
    }
}

/* The same number of reads of the same lengths, elsewhere and in another order. */
static void other_boot(struct trace *other)
{
    uint64_t random = 4711;
    *other = live;
    for (unsigned i = 0; i < other->count; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        other->reads[i].offset = live.size / 2 + (random >> 16) % (live.size / 2 / 1048576) * 1048576;
    }
}

static void a_boot_that_is_known_takes_what_its_bytes_take(void **state)
{
    static struct profile profile;
    static struct trace other;
    (void)state;
    trace_load();
    other_boot(&other);
    live_boot(&kinds[10], &live, NULL, &profile);
    assert_true(profile_is_valid(&profile) && profile_is_useful(&profile));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct boot known = live_boot(&kinds[i], &live, &profile, NULL);
        struct boot unlike = live_boot(&kinds[i], &other, NULL, NULL), wrong = live_boot(&kinds[i], &other, &profile, NULL);
        double bytes = (double)sim_download(&kinds[i], profile_bytes(&profile), 1) / 1e6;
        if (table())
            printf("%-28s by its profile: %6.2f s, %4u stalls, %6.1f MB, its bytes in one download %6.2f s; by a wrong one "
                   "%.3f of the time, %.3f of the bytes\n",
                   kinds[i].name, known.seconds, known.stalls, known.fetched, bytes, wrong.seconds / unlike.seconds,
                   wrong.fetched / unlike.fetched);
        check(&kinds[i], "of the time that its bytes take", known.seconds / bytes, 0, 1.55);
        check(&kinds[i], "of the profile was fetched", known.fetched * 1e6 / (double)profile_bytes(&profile), 0.99, 1.02);
        check(&kinds[i], "of the time without a wrong profile", wrong.seconds / unlike.seconds, 0, kinds[i].rtt_us > 300000 ? 1.3 : 1.1);
    }
}

/* --- several slots --- */

static int compare_waits(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

struct beside {
    double median, p99, worst; /* round trips */
    double bulk;               /* of the link's rate */
};

/* Small reads at random of one slot, while another streams: one after the other. */
static struct beside demand_beside_bulk(const struct sim_link_options *options, unsigned connections)
{
    struct cache *cache = cache_new(CACHE, 4 << 20);
    struct sim_link *link = sim_link_new(options);
    struct reader *bulk = calloc(1, sizeof *bulk), *small = calloc(1, sizeof *small);
    uint64_t rate = options->rate, rtt = options->rtt_us;
    reader_open(bulk, cache, link, rate * 600, connections);
    reader_open(small, cache, link, 4ull << 30, connections);
    reader_begin(bulk, 0, rate * 500, 131072, 0);
    sim_run(reader_ended, bulk, sim_now_us() + 5 * SECOND);
    uint64_t before = bulk->bytes, start = sim_now_us();
    reader_begin(small, 0, 100 * 4096, 4096, 12345);
    assert_true(sim_run(reader_ended, small, sim_now_us() + 600 * SECOND));
    uint64_t took = sim_now_us() - start, n = small->reads;
    qsort(small->waits, n, sizeof *small->waits, compare_waits);
    struct beside out = {(double)small->waits[n / 2] / (double)rtt, (double)small->waits[n * 99 / 100] / (double)rtt,
                         (double)small->worst_us / (double)rtt,
                         (double)(bulk->bytes - before) * 1e6 / (double)took / (double)rate};
    if (table())
        printf("%-28s demand beside bulk: median %5.2f, p99 %5.2f, worst %5.2f RTT; bulk %.2f of the link, gain %u, %u share\n", options->name,
               out.median, out.p99, out.worst, out.bulk, bulk->source->stats.gain, bulk->source->stats.sharers);
    reader_close(small);
    reader_close(bulk);
    sim_link_free(link);
    cache_free(cache);
    free(bulk);
    free(small);
    return out;
}

struct eight {
    double ratio, slowest, waste;
};

static bool all_ended(void *arg)
{
    struct reader *readers = arg;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (!reader_ended(&readers[i]))
            return false;
    return true;
}

/* Eight images in order at once, for ten seconds. */
static struct eight eight_slots(const struct sim_link_options *options, unsigned connections)
{
    struct cache *cache = cache_new(CACHE, 4 << 20);
    struct sim_link *link = sim_link_new(options);
    struct reader *readers = calloc(SLOTS_MAX, sizeof *readers);
    uint64_t bytes = options->rate * 20;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        reader_open(&readers[i], cache, link, bytes, connections);
    uint64_t before = sim_link_carried(link), start = sim_now_us();
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        reader_begin(&readers[i], 0, bytes, 131072, 0);
    sim_run(all_ended, readers, start + 10 * SECOND);
    uint64_t took = sim_now_us() - start, sum = 0, least = UINT64_MAX, worst = 0, carried = sim_link_carried(link) - before;
    uint64_t wasted = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        sum += readers[i].bytes;
        least = readers[i].bytes < least ? readers[i].bytes : least;
        worst = readers[i].worst_us > worst ? readers[i].worst_us : worst;
        wasted += readers[i].source->stats.wasted;
    }
    struct eight out = {(double)sum * 1e6 / (double)took / (double)options->rate, (double)least * SLOTS_MAX / (double)sum,
                        (double)wasted / (double)carried};
    if (table())
        printf("%-28s eight slots: %.2f of the link, the slowest %.2f of the mean, %.3f wasted, worst read %.2f s, %u connections\n",
               options->name, out.ratio, out.slowest, out.waste, (double)worst / 1e6, sim_link_opened(link));
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        reader_close(&readers[i]);
    sim_link_free(link);
    cache_free(cache);
    free(readers);
    return out;
}

static void a_small_read_does_not_wait_for_a_stream(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    {
        if (kinds[i].rtt_us > 300000)
            continue;
        struct beside out = demand_beside_bulk(&kinds[i], 16);
        check(&kinds[i], "round trips of a small read beside a stream", out.median, 1, kinds[i].rate < MB ? 3 : 2.2);
        check(&kinds[i], "the same, one of a hundred", out.p99, 1, 6);
        check(&kinds[i], "of the link for the stream", out.bulk, kinds[i].rtt_us > 100000 || kinds[i].idle_restart ? 0.3 : 0.75, 2);
    }
}

static void eight_slots_share_the_link(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    {
        if (kinds[i].rtt_us > 150000)
            continue;
        struct eight out = eight_slots(&kinds[i], 16);
        check(&kinds[i], "of the link for eight slots", out.ratio, kinds[i].rate < MB ? 0.7 : 0.85, 2);
        check(&kinds[i], "of the mean for the slowest", out.slowest, 0.75, 1.001);
        check(&kinds[i], "wasted", out.waste, 0, 0.02);
    }
}

static int set_up(void **state)
{
    (void)state;
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
    uv_loop_init(&loop);
    defer_init(&loop);
    sim_begin(&loop);
    links_init(&links);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    defer_close(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_read_in_order_as_fast_as_it_is_downloaded),
        cmocka_unit_test(few_connections_are_enough),
        cmocka_unit_test(a_live_system_boots_sooner_than_with_fixed_blocks),
        cmocka_unit_test(a_boot_that_is_known_takes_what_its_bytes_take),
        cmocka_unit_test(a_small_read_does_not_wait_for_a_stream),
        cmocka_unit_test(eight_slots_share_the_link),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
