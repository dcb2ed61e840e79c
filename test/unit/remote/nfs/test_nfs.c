/* The NFS source keeps the contract in both versions, and survives every server that errs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../block/contract.h"
#include "../../cmocka_all.h"
#include "../source_rig.h"
#include "nfs_server.h"
#include "remote/nfs/nfs.h"

static unsigned port;
static uint64_t io_timeout_ms;

static struct source *make_for(uv_loop_t *loop, const char *path, const char *more)
{
    char url[256], error[REMOTE_ERROR_MAX];
    snprintf(url, sizeof url, "nfs://127.0.0.1:%u%s?mountport=%u%s", port, path, port, more);
    struct nfs_source_options options = {
        .url = url,
        .uid = 1234,
        .gid = 4321,
        .local = ADDRESS_LOCAL_ALL,
        .connect_timeout_ms = 5000,
        .stall_timeout_ms = 200,
        .connections = 6,
        .io_timeout_ms = io_timeout_ms,
    };
    struct source *source = nfs_source_new(loop, "test", &options, error);
    assert_non_null(source);
    return source;
}

static const char *const versions[] = {"&version=4", "&version=3"};

static struct source *make(uv_loop_t *loop, void *context, void *arg)
{
    (void)context;
    return make_for(loop, "/exports/image", arg);
}

static void both_versions_keep_the_contract(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct contract contract = {
            .content = nfs_server_content, .size = NFS_SERVER_SIZE, .make = make, .arg = (void *)versions[v]};
        contract_check(&contract);
    }
}

/* --- a source on a loop --- */

static int open_path(const char *path, const char *more)
{
    source_rig_begin(nfs_server_content);
    return source_rig_open(make_for(&rig.loop, path, more));
}

#define READS 12

/* How many of the reads, all over the image and of all sizes, came right; none came wrong. */
static int read_all_over(void)
{
    static struct io ios[READS];
    rig.done = rig.good = 0;
    for (unsigned i = 0; i < READS; i++) {
        io_init(&ios[i], IO_READ, i * 60000, i % 3 == 0 ? 1300000 : 4000 + i, source_rig_done);
        source_submit(rig.source, &ios[i]);
    }
    source_rig_wait(READS);
    for (unsigned i = 0; i < READS; i++)
        assert_true(ios[i].status == 0 || ios[i].status == -EIO);
    return rig.good;
}

static int begin(void **state)
{
    (void)state;
    nfs_server_trouble = NFS_RIGHT;
    nfs_server_read_max = 256u << 10;
    io_timeout_ms = 20000;
    return 0;
}

/* The pauses between probes: how long they are is no matter of the protocol. */
uint64_t __wrap_jitter_pause(uint64_t most);
uint64_t __wrap_jitter_pause(uint64_t most)
{
    return most / 20;
}

/* --- the tests --- */

static void who_reads_is_told(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        char more[64];
        assert_int_equal(open_path("/exports/image", versions[v]), 0);
        assert_int_equal(nfs_server_uid, 1234);
        assert_int_equal(nfs_server_gid, 4321);
        source_rig_end();
        snprintf(more, sizeof more, "%s&uid=0&gid=7", versions[v]);
        assert_int_equal(open_path("/exports/image", more), 0);
        assert_int_equal(nfs_server_uid, 0);
        assert_int_equal(nfs_server_gid, 7);
        source_rig_end();
    }
}

static void what_is_no_image_is_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int status;
        const char *words;
    } cases[] = {
        {"/exports/missing", -ENOENT, "no such file"}, {"/nowhere/image", -ENOENT, "no such file"},
        {"/exports/folder", -EISDIR, "a folder"},      {"/exports/device", -EINVAL, "a device"},
        {"/exports/empty", -EREMOTEIO, "empty"},       {"/exports/image/x", -ENOENT, "not a folder"},
        {"/exports/secret", -EACCES, "denies access"}, {"/exports/loop", -ELOOP, "symbolic links"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        int status = open_path(cases[i / 2].path, versions[i % 2]);
        if (status != cases[i / 2].status || !strstr(rig.source->error, cases[i / 2].words))
            fail_msg("%s %s: %d, %s", cases[i / 2].path, versions[i % 2], status, rig.source->error);
        source_rig_end();
    }
}

static void links_are_followed_on_the_server(void **state)
{
    (void)state;
    static const char *const paths[] = {"/exports/link", "/exports/absolute", "/exports/up"};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(open_path(paths[i / 2], versions[i % 2]), 0);
        assert_int_equal(rig.source->size, NFS_SERVER_SIZE);
        assert_int_equal(read_all_over(), READS);
        source_rig_end();
    }
}

static void version_3_is_for_servers_without_4(void **state)
{
    (void)state;
    nfs_server_trouble = NFS_OTHER_VERSION;
    assert_int_equal(open_path("/exports/image", ""), 0);
    assert_int_equal(read_all_over(), READS);
    source_rig_end();
    assert_int_equal(open_path("/exports/image", "&version=4"), -EREMOTEIO);
    source_rig_end();
}

/* Troubles after which every read is right all the same. */
static void troubles_that_pass_are_not_seen(void **state)
{
    (void)state;
    static const enum nfs_trouble troubles[] = {NFS_SHORT, NFS_HANG_UP, NFS_BUSY, NFS_STALE, NFS_NO_ATTRIBUTES};
    for (size_t i = 0; i < 2 * sizeof troubles / sizeof *troubles; i++) {
        nfs_server_trouble = NFS_RIGHT;
        assert_int_equal(open_path("/exports/image", versions[i % 2]), 0);
        nfs_server_trouble = troubles[i / 2];
        if (read_all_over() != READS)
            fail_msg("trouble %d %s: %d, %s", (int)troubles[i / 2], versions[i % 2], rig.good, rig.source->error);
        source_rig_end();
    }
}

/* No byte of theirs reaches a reader, and the next right answer is found again. */
static void answers_that_can_not_be_right_are_errors(void **state)
{
    (void)state;
    static const enum nfs_trouble troubles[] = {NFS_LONG,      NFS_NOTHING, NFS_EARLY_END, NFS_BEYOND, NFS_NEGATIVE,
                                                NFS_CUT,       NFS_BARE,    NFS_STRANGER,  NFS_SILENT, NFS_HUGE,
                                                NFS_PIECEMEAL, NFS_NOISE,   NFS_CHANGED,   NFS_DENIED};
    io_timeout_ms = 400;
    for (size_t i = 0; i < 2 * sizeof troubles / sizeof *troubles; i++) {
        nfs_server_trouble = NFS_RIGHT;
        assert_int_equal(open_path("/exports/image", versions[i % 2]), 0);
        nfs_server_trouble = troubles[i / 2];
        int good = read_all_over();
        if (good != 0)
            fail_msg("trouble %d %s: %d reads", (int)troubles[i / 2], versions[i % 2], good);
        nfs_server_trouble = NFS_RIGHT;
        for (int tries = 0; tries < 20 && read_all_over() != READS; tries++)
            while (rig.source->failing) /* reads of a changed image fail at once until it is seen to be back */
                uv_run(&rig.loop, UV_RUN_ONCE);
        if (rig.good != READS)
            fail_msg("after trouble %d %s: %d, %s", (int)troubles[i / 2], versions[i % 2], rig.good, rig.source->error);
        source_rig_end();
    }
}

static void an_insert_from_such_a_server_fails(void **state)
{
    (void)state;
    static const enum nfs_trouble troubles[] = {
        NFS_LONG, NFS_NOTHING,  NFS_EARLY_END, NFS_BEYOND, NFS_NEGATIVE,  NFS_HANDLE_LONG, NFS_CUT,
        NFS_BARE, NFS_STRANGER, NFS_SILENT,    NFS_HUGE,   NFS_PIECEMEAL, NFS_NOISE,       NFS_DENIED};
    io_timeout_ms = 250; /* some may pass, and are waited for so long */
    for (size_t i = 0; i < 2 * sizeof troubles / sizeof *troubles; i++) {
        nfs_server_trouble = troubles[i / 2];
        int status = open_path("/exports/image", versions[i % 2]);
        if (status == 0 || !*rig.source->error)
            fail_msg("trouble %d %s: %d, %s", (int)troubles[i / 2], versions[i % 2], status, rig.source->error);
        source_rig_end();
    }
}

static void sizes_that_no_image_has_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum nfs_trouble trouble;
        int status;
        const char *words;
    } cases[] = {
        {NFS_SIZE_MAX, -EFBIG, "a size that no file has"},
        {NFS_SIZE_NEGATIVE, -EFBIG, "a size that no file has"},
        {NFS_TRUNCATED, -EREMOTEIO, "changed on the server while it was opened"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        nfs_server_trouble = cases[i / 2].trouble;
        int status = open_path("/exports/image", versions[i % 2]);
        if (status != cases[i / 2].status || !strstr(rig.source->error, cases[i / 2].words))
            fail_msg("trouble %d %s: %d, %s", (int)cases[i / 2].trouble, versions[i % 2], status, rig.source->error);
        source_rig_end();
    }
}

static void small_reads_are_what_the_server_gives(void **state)
{
    (void)state;
    static const unsigned limits[] = {1000, 5000, 65536, UINT32_MAX};
    for (size_t i = 0; i < 2 * sizeof limits / sizeof *limits; i++) {
        nfs_server_read_max = limits[i / 2];
        assert_int_equal(open_path("/exports/image", versions[i % 2]), 0);
        assert_int_equal(read_all_over(), READS);
        source_rig_end();
    }
}

static void a_server_that_is_not_there_is_told(void **state)
{
    (void)state;
    unsigned there = port;
    port = 1; /* tcpmux: nobody has it */
    io_timeout_ms = 250;
    assert_int_equal(open_path("/exports/image", "&version=4"), -ECONNREFUSED);
    assert_non_null(strstr(rig.source->error, "127.0.0.1 port 1: Connection refused"));
    source_rig_end();
    assert_int_equal(open_path("/exports/image", "&version=3"), -ECONNREFUSED);
    assert_non_null(strstr(rig.source->error, "mount service"));
    source_rig_end();
    port = there;
}

static int start(void **state)
{
    (void)state;
    port = nfs_server_start();
    return port ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    nfs_server_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(both_versions_keep_the_contract, begin),
        cmocka_unit_test_setup(who_reads_is_told, begin),
        cmocka_unit_test_setup(what_is_no_image_is_refused_in_words, begin),
        cmocka_unit_test_setup(links_are_followed_on_the_server, begin),
        cmocka_unit_test_setup(version_3_is_for_servers_without_4, begin),
        cmocka_unit_test_setup(troubles_that_pass_are_not_seen, begin),
        cmocka_unit_test_setup(answers_that_can_not_be_right_are_errors, begin),
        cmocka_unit_test_setup(an_insert_from_such_a_server_fails, begin),
        cmocka_unit_test_setup(sizes_that_no_image_has_are_refused, begin),
        cmocka_unit_test_setup(small_reads_are_what_the_server_gives, begin),
        cmocka_unit_test_setup(a_server_that_is_not_there_is_told, begin),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
