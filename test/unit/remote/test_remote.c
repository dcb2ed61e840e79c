/*
 * What all images on other machines share, with a client whose answers are scripted: it has no
 * connection, so that each trouble comes when the test wants it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "remote/remote.h"
#include "source_rig.h"

#define SIZE (1000u * 1000 + 7)

static unsigned char content[SIZE];

/* What the next requests get. */
static struct script {
    enum remote_verdict probe, range;
    unsigned range_failures; /* so many ranges get `range`, the others are right */
    unsigned probe_failures; /* the same of probes; 0: all get `probe` */
    uint64_t retry_after_ms;
    int reason;
    bool silent; /* ranges are not answered */
    const char *version;
    unsigned probes, ranges, adopted, cancelled, live;
} script;

struct fake_request {
    struct remote_request request;
    struct defer defer;
    bool probe;
    uint64_t offset;
    uint32_t length;
};

struct fake_client {
    struct remote_client client;
    struct defer closed;
};

static struct fake_request *fake_of(struct remote_request *request)
{
    return container_of(request, struct fake_request, request);
}

static void fill_probe(struct remote_request *request)
{
    request->verdict = script.probe;
    if (script.probe_failures > 0 && --script.probe_failures == 0)
        script.probe = REMOTE_OK;
    request->found = (struct remote_image){.size = SIZE};
    snprintf(request->found.version, sizeof request->found.version, "%s", script.version);
    snprintf(request->found.identity, sizeof request->found.identity, "fake %s", script.version);
}

static void fill_range(struct fake_request *fake)
{
    fake->request.verdict = script.range_failures > 0 ? script.range : REMOTE_OK;
    script.range_failures -= script.range_failures > 0;
    if (fake->request.verdict != REMOTE_OK)
        return;
    fake->request.received = fake->length;
    slices_add_copy(&fake->request.data, content + fake->offset, fake->length);
}

static void on_answer(struct defer *defer)
{
    struct fake_request *fake = container_of(defer, struct fake_request, defer);
    fake->request.reason = script.reason;
    fake->request.retry_after_ms = script.retry_after_ms;
    snprintf(fake->request.error, sizeof fake->request.error, "scripted trouble");
    if (fake->probe)
        fill_probe(&fake->request);
    else
        fill_range(fake);
    fake->request.done(&fake->request);
}

static struct remote_request *fake_new(struct remote_client *client)
{
    struct fake_request *fake = calloc(1, sizeof *fake);
    fake->request.client = client;
    slices_init(&fake->request.data);
    defer_setup(&fake->defer, on_answer);
    script.live++;
    return &fake->request;
}

static void fake_probe(struct remote_request *request)
{
    fake_of(request)->probe = true;
    script.probes++;
    defer_schedule(request->client->loop, &fake_of(request)->defer);
}

static void fake_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    struct fake_request *fake = fake_of(request);
    assert_true(offset + length <= SIZE && length > 0);
    assert_true(script.adopted > 0);
    slices_clear(&request->data);
    request->received = 0;
    fake->offset = offset;
    fake->length = length;
    script.ranges++;
    if (!script.silent)
        defer_schedule(request->client->loop, &fake->defer);
}

static void fake_cancel(struct remote_request *request)
{
    script.cancelled++;
    defer_cancel(&fake_of(request)->defer);
}

static uint64_t fake_received(const struct remote_request *request)
{
    return request->received;
}

static void fake_request_free(struct remote_request *request)
{
    defer_cancel(&fake_of(request)->defer);
    slices_clear(&request->data);
    script.live--;
    free(fake_of(request));
}

static void fake_adopt(struct remote_request *probe)
{
    assert_int_equal(probe->verdict, REMOTE_OK);
    script.adopted++;
}

static void on_fake_closed(struct defer *defer)
{
    struct fake_client *fake = container_of(defer, struct fake_client, closed);
    fake->client.closed(&fake->client);
}

static void fake_close(struct remote_client *client)
{
    assert_int_equal(script.live, 0);
    defer_schedule(client->loop, &container_of(client, struct fake_client, client)->closed);
}

static void fake_free(struct remote_client *client)
{
    free(container_of(client, struct fake_client, client));
}

static struct source *make_with(uv_loop_t *loop, uint64_t io_timeout_ms)
{
    static const struct remote_client_ops ops = {
        fake_new, fake_probe, fake_range, fake_cancel, fake_received, fake_request_free, fake_adopt, fake_close, fake_free};
    struct fake_client *fake = calloc(1, sizeof *fake);
    fake->client =
        (struct remote_client){.ops = &ops, .loop = loop, .url = (char *)"nfs://user:secret@host/image?token"};
    defer_setup(&fake->closed, on_fake_closed);
    return remote_source_new(&fake->client, "test", 4, io_timeout_ms);
}

static struct source *make(uv_loop_t *loop, void *context, void *arg)
{
    (void)context;
    (void)arg;
    return make_with(loop, 20000);
}

/* --- a source on a loop --- */

static int begin(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)(i * 2654435761u >> 24);
    script = (struct script){.version = "one"};
    return 0;
}

static void open_source(uint64_t io_timeout_ms)
{
    source_rig_begin(content);
    source_rig_open(make_with(&rig.loop, io_timeout_ms));
}

/* --- the tests --- */

static void a_remote_source_keeps_the_contract(void **state)
{
    (void)state;
    struct contract contract = {.content = content, .size = SIZE, .make = make};
    contract_check(&contract);
}

static void facts_are_the_probes(void **state)
{
    (void)state;
    open_source(20000);
    assert_int_equal(rig.status, 0);
    assert_int_equal(rig.source->size, SIZE);
    assert_true(rig.source->read_only);
    assert_string_equal(rig.source->identity, "fake one");
    assert_string_equal(rig.source->ops->name, "nfs");
    source_rig_end();
}

static void a_failed_probe_says_why(void **state)
{
    (void)state;
    static const struct {
        enum remote_verdict verdict;
        int reason, status;
    } cases[] = {{REMOTE_REFUSED, -ENOENT, -ENOENT},
                 {REMOTE_TRANSIENT, 0, -EAGAIN},
                 {REMOTE_REFUSED, 0, -EREMOTEIO},
                 {REMOTE_MOVED, 0, -EREMOTEIO}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(NULL);
        script.probe = cases[i].verdict;
        script.reason = cases[i].reason;
        open_source(300);
        assert_int_equal(rig.status, cases[i].status);
        assert_non_null(strstr(rig.source->error, "scripted trouble"));
        assert_null(strstr(rig.source->error, "secret"));
        assert_null(strstr(rig.source->error, "token"));
        source_rig_end();
    }
}

static void a_trouble_that_passes_is_tried_again_without_a_probe(void **state)
{
    (void)state;
    open_source(20000);
    script.range = REMOTE_TRANSIENT;
    script.range_failures = 1;
    assert_int_equal(source_rig_read(1000, 5000), 0);
    assert_int_equal(script.ranges, 2);
    assert_int_equal(script.probes, 1);
    assert_int_equal(rig.source->stats.retries, 1);
    source_rig_end();
}

static void two_failures_and_what_moved_wait_for_a_probe(void **state)
{
    (void)state;
    open_source(20000);
    script.range = REMOTE_TRANSIENT;
    script.range_failures = 2;
    assert_int_equal(source_rig_read(0, 512), 0);
    assert_int_equal(script.probes, 2);
    assert_int_equal(script.adopted, 2);
    script.range = REMOTE_MOVED;
    script.range_failures = 1;
    assert_int_equal(source_rig_read(0, 512), 0);
    assert_int_equal(script.probes, 3);
    assert_false(rig.source->failing);
    source_rig_end();
}

static void what_can_not_be_right_fails_at_once(void **state)
{
    (void)state;
    open_source(20000);
    script.range = REMOTE_REFUSED;
    script.range_failures = 1;
    assert_int_equal(source_rig_read(0, 512), -EIO);
    assert_int_equal(script.ranges, 1);
    assert_int_equal(script.probes, 1);
    assert_int_equal(source_rig_read(0, 512), 0);
    source_rig_end();
}

static void another_image_in_its_place_is_never_read(void **state)
{
    (void)state;
    open_source(20000);
    script.range = REMOTE_MOVED;
    script.range_failures = 1;
    script.version = "two";
    assert_int_equal(source_rig_read(0, 512), -EIO);
    assert_int_equal(script.adopted, 1);
    assert_non_null(strstr(rig.source->error, "changed"));
    assert_true(rig.source->failing);
    unsigned ranges = script.ranges;
    for (int i = 0; i < 100; i++)
        assert_int_equal(source_rig_read(i * 512, 512), -EIO);
    assert_int_equal(script.ranges, ranges);
    assert_in_range(script.probes, 2, 3);
    script.version = "one"; /* it is put back */
    while (rig.source->failing)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(source_rig_read(0, 512), 0);
    assert_int_equal(script.adopted, 2);
    source_rig_end();
}

static void a_silent_server_costs_io_timeout_and_is_found_again(void **state)
{
    (void)state;
    open_source(300);
    script.silent = true;
    uint64_t began = uv_hrtime();
    assert_int_equal(source_rig_read(0, 512), -EIO);
    assert_in_range((uv_hrtime() - began) / 1000000, 290, 3000);
    assert_in_range(script.cancelled, 1, 2);
    script.silent = false;
    assert_int_equal(source_rig_read(0, 512), 0);
    source_rig_end();
}

static void an_insert_waits_for_what_passes(void **state)
{
    (void)state;
    script.probe = REMOTE_TRANSIENT;
    script.probe_failures = 2;
    open_source(20000);
    assert_int_equal(rig.status, 0);
    assert_int_equal(script.probes, 3);
    source_rig_end();
}

static void an_insert_where_nobody_is_waits_less(void **state)
{
    (void)state;
    script.probe = REMOTE_TRANSIENT;
    script.reason = -ECONNREFUSED;
    uint64_t began = uv_hrtime();
    open_source(60000);
    assert_int_equal(rig.status, -ECONNREFUSED);
    assert_in_range((uv_hrtime() - began) / 1000000, REMOTE_ABSENT_MS / 2, REMOTE_ABSENT_MS + 5000);
    source_rig_end();
}

/* A proxy says so while what is behind it starts. */
static void an_image_that_is_not_there_for_a_while_is_waited_for(void **state)
{
    (void)state;
    static const int reasons[] = {-ENOENT, -EACCES};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        begin(NULL);
        open_source(20000);
        script.range = script.probe = REMOTE_REFUSED;
        script.range_failures = 1;
        script.probe_failures = 2;
        script.reason = reasons[i];
        assert_int_equal(source_rig_read(0, 512), 0);
        assert_int_equal(script.probes, 4);
        source_rig_end();
    }
}

static void a_server_is_left_alone_for_as_long_as_it_wants(void **state)
{
    (void)state;
    open_source(20000);
    script.range = REMOTE_TRANSIENT;
    script.range_failures = 1;
    script.retry_after_ms = 900;
    uint64_t began = uv_hrtime();
    assert_int_equal(source_rig_read(0, 512), 0);
    assert_in_range((uv_hrtime() - began) / 1000000, 890, 5000);
    assert_int_equal(script.ranges, 2);
    source_rig_end();
}

/* The clock is the host's: it has asked before, and waits since for what was read ahead. */
static void a_read_that_is_joined_late_has_its_deadline(void **state)
{
    (void)state;
    struct io io;
    open_source(500);
    script.silent = true;
    io_init(&io, IO_READ, 0, 512, source_rig_done);
    io.flags = IO_PREFETCH;
    source_submit(rig.source, &io);
    uint64_t began = uv_hrtime();
    source_promote(rig.source, &io, uv_now(&rig.loop) - 250);
    source_rig_wait(1);
    assert_int_equal(rig.io_status, -EIO);
    assert_in_range((uv_hrtime() - began) / 1000000, 200, 450);
    source_rig_end();
}

static void what_is_read_ahead_ends_when_the_server_is_down(void **state)
{
    (void)state;
    struct io ahead, demand;
    open_source(20000);
    script.silent = true;
    io_init(&ahead, IO_READ, 4096, 512, source_rig_done);
    ahead.flags = IO_PREFETCH;
    source_submit(rig.source, &ahead);
    script.silent = false;
    script.range = REMOTE_MOVED;
    script.range_failures = 1;
    io_init(&demand, IO_READ, 0, 512, source_rig_done);
    source_submit(rig.source, &demand);
    source_rig_wait(2);
    assert_int_equal(ahead.status, -EIO);
    assert_int_equal(demand.status, 0);
    assert_int_equal(script.cancelled, 1);
    source_rig_end();
}

static void closing_cancels_what_waits(void **state)
{
    (void)state;
    struct io ios[9]; /* more than there are requests */
    open_source(20000);
    script.silent = true;
    for (unsigned i = 0; i < 9; i++) {
        io_init(&ios[i], IO_READ, i * 1000, 1000, source_rig_done);
        source_submit(rig.source, &ios[i]);
    }
    assert_int_equal(script.ranges, 4);
    source_rig_end();
    assert_int_equal(rig.done, 9);
    assert_int_equal(rig.io_status, -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_remote_source_keeps_the_contract, begin),
        cmocka_unit_test_setup(facts_are_the_probes, begin),
        cmocka_unit_test_setup(a_failed_probe_says_why, begin),
        cmocka_unit_test_setup(a_trouble_that_passes_is_tried_again_without_a_probe, begin),
        cmocka_unit_test_setup(two_failures_and_what_moved_wait_for_a_probe, begin),
        cmocka_unit_test_setup(what_can_not_be_right_fails_at_once, begin),
        cmocka_unit_test_setup(another_image_in_its_place_is_never_read, begin),
        cmocka_unit_test_setup(a_silent_server_costs_io_timeout_and_is_found_again, begin),
        cmocka_unit_test_setup(an_insert_waits_for_what_passes, begin),
        cmocka_unit_test_setup(an_insert_where_nobody_is_waits_less, begin),
        cmocka_unit_test_setup(an_image_that_is_not_there_for_a_while_is_waited_for, begin),
        cmocka_unit_test_setup(a_server_is_left_alone_for_as_long_as_it_wants, begin),
        cmocka_unit_test_setup(a_read_that_is_joined_late_has_its_deadline, begin),
        cmocka_unit_test_setup(what_is_read_ahead_ends_when_the_server_is_down, begin),
        cmocka_unit_test_setup(closing_cancels_what_waits, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
