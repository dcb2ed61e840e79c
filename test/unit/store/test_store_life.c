/* Uploads across the ends of the store, of the process and of the system. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "store_rig.h"

#define HOUR_MS 3600000u

static struct store_rig rig;
static struct store_rig_put put;

static uint64_t offset_of(const char *name)
{
    struct store_entry entry;
    if (!store_rig_find(&rig, name, &entry))
        return 0;
    assert_false(entry.complete);
    return entry.offset;
}

/* Goes on to the end: the image is right. */
static void finish(const char *name, uint64_t size)
{
    char sha256[STORE_SHA256];
    uint64_t offset = offset_of(name);
    assert_int_equal(store_rig_put(&rig, &put, name, offset, size - offset, size, size - offset), 0);
    store_rig_digest((size_t)size, sha256);
    assert_true(put.piece.complete);
    assert_string_equal(put.piece.sha256, sha256);
    store_rig_check_image(&rig, name, (size_t)size);
    assert_int_equal(store_rig_remove(&rig, name), 0);
    assert_int_equal(store_rig_files(&rig), 0);
}

static void an_upload_goes_on_after_a_restart(void **state)
{
    (void)state;
    const uint64_t size = 13u << 20; /* hashed again in several steps */
    static const uint64_t cuts[] = {1, 1000, STORE_SYNC, (12u << 20) + 5};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        assert_int_equal(store_rig_put(&rig, &put, "a", 0, size, size, cuts[i]), -ECANCELED);
        store_rig_reopen(&rig);
        assert_int_equal(offset_of("a"), cuts[i]);
        finish("a", size);
    }
}

static void hashing_again_can_be_cut(void **state)
{
    (void)state;
    const uint64_t size = 16u << 20, there = size - 5;
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, size, size, there), -ECANCELED);
    for (unsigned turns = 0; turns < 8; turns++) {
        store_rig_reopen(&rig);
        store_rig_start(&rig, &put, "a", there, 5, size, 5, 5);
        for (unsigned i = 0; i < turns && !put.given; i++)
            uv_run(&rig.loop, UV_RUN_ONCE);
        if (put.given)
            break;
        store_cut(&put.piece);
        store_rig_until(&rig, &put.done);
        assert_int_equal(put.piece.status, -ECANCELED);
        assert_int_equal(put.piece.offset, there);
    }
    if (put.given)
        store_rig_until(&rig, &put.done);
    else
        finish("a", size);
}

static void a_part_that_was_written_to_is_hashed_again(void **state)
{
    (void)state;
    char part[400];
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 2000, 2000, 1000), -ECANCELED);
    store_rig_part(&rig, "a", 2000, part);
    /* Another file in its place, as long and with the right bytes; then one with more. */
    for (size_t length = 1000; length <= 1500; length += 500) {
        usleep(20000);
        assert_int_equal(unlink(part), 0);
        store_rig_write_file(&rig, strrchr(part, '/') + 1, store_rig_data(), length);
        assert_int_equal(store_rig_put(&rig, &put, "a", length, 100, 2000, 100), 0);
        assert_int_equal(put.piece.offset, length + 100);
    }
    finish("a", 2000);
}

static void pretend_boot(const char *name, uint64_t size)
{
    char part[400], old[400];
    store_rig_part(&rig, name, size, part);
    strcpy(old, part);
    memcpy(strrchr(old, '-'), "-00000000.part", 14);
    assert_int_equal(rename(part, old), 0);
}

static void after_a_boot_only_what_was_synced_is_trusted(void **state)
{
    (void)state;
    static const uint64_t cuts[][2] = {{5, 0},
                                       {STORE_SYNC, 0},
                                       {STORE_SYNC + 1, STORE_SYNC},
                                       {2 * STORE_SYNC, STORE_SYNC},
                                       {2 * STORE_SYNC + 77, 2 * STORE_SYNC}};
    const uint64_t size = 3 * STORE_SYNC;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        char part[400];
        assert_int_equal(store_rig_put(&rig, &put, "a", 0, size, size, cuts[i][0]), -ECANCELED);
        store_rig_close(&rig);
        store_rig_part(&rig, "a", size, part);
        if (cuts[i][0] > cuts[i][1]) { /* what was not synced came back as zeroes */
            int fd = open(part, O_WRONLY);
            static const char zeroes[STORE_SYNC];
            size_t lost = (size_t)(cuts[i][0] - cuts[i][1]);
            assert_int_equal(pwrite(fd, zeroes, lost, (off_t)cuts[i][1]), lost);
            close(fd);
        }
        pretend_boot("a", size);
        store_rig_open(&rig);
        assert_int_equal(offset_of("a"), cuts[i][1]);
        finish("a", size);
    }
}

/* The process ended between the last byte and the name. */
static void a_part_with_all_its_bytes_is_no_image(void **state)
{
    (void)state;
    char part[400];
    for (int open_meanwhile = 0; open_meanwhile < 2; open_meanwhile++) {
        assert_int_equal(store_rig_put(&rig, &put, "a", 0, 1000, 6000000, 1000), 0);
        store_rig_part(&rig, "a", 6000000, part);
        if (!open_meanwhile)
            store_rig_close(&rig);
        store_rig_write_file(&rig, strrchr(part, '/') + 1, store_rig_data(), 6000000 + (size_t)open_meanwhile * 700000);
        if (!open_meanwhile)
            store_rig_open(&rig);
        assert_int_equal(offset_of("a"), STORE_SYNC); /* never all: the client would think it is done */
        finish("a", 6000000);
    }
}

/* Whenever a sync fails, what is behind the last one is written again. Not to be had here:
 * but a rename that fails goes the same way. */
static void an_end_that_fails_can_be_tried_again(void **state)
{
    (void)state;
    char path[400];
    const uint64_t size = STORE_SYNC + 10;
    snprintf(path, sizeof path, "%s/a", rig.path);
    store_rig_start(&rig, &put, "a", 0, size, size, size, 65536);
    while (put.given == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(mkdir(path, 0700), 0);
    store_rig_until(&rig, &put.done);
    assert_int_equal(put.piece.status, -EEXIST);
    assert_int_equal(put.piece.offset, STORE_SYNC);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(offset_of("a"), STORE_SYNC);
    finish("a", size);
}

static void set_age(const char *path, unsigned hours)
{
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= hours * 3600;
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void sweep_now(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (handle->type == UV_TIMER) {
        uv_timer_t *timer = (uv_timer_t *)handle;
        timer->timer_cb(timer);
    }
}

static void nobody_goes_on_with_it_then_it_goes(void **state)
{
    (void)state;
    char part[400];
    struct store_entry entry;
    assert_int_equal(store_rig_put(&rig, &put, "old", 0, 10, 20, 10), 0);
    assert_int_equal(store_rig_put(&rig, &put, "new", 0, 10, 20, 10), 0);
    assert_int_equal(store_rig_put(&rig, &put, "image", 0, 10, 10, 10), 0);
    store_rig_part(&rig, "old", 20, part);
    set_age(part, 25);
    snprintf(part, sizeof part, "%s/image", rig.path);
    set_age(part, 1000);
    /* Used a short while ago, whatever the clock says. */
    uv_walk(&rig.loop, sweep_now, NULL);
    assert_true(store_rig_find(&rig, "old", &entry));
    store_rig_reopen(&rig);
    assert_false(store_rig_find(&rig, "old", &entry));
    assert_int_equal(offset_of("new"), 10);
    assert_true(store_rig_find(&rig, "image", &entry));
    /* And by the hourly sweep. */
    store_rig_part(&rig, "new", 20, part);
    set_age(part, 25);
    uv_walk(&rig.loop, sweep_now, NULL);
    uv_walk(&rig.loop, sweep_now, NULL);
    assert_false(store_rig_find(&rig, "new", &entry));
    rig.options.partial_age_ms = 30 * HOUR_MS;
    assert_int_equal(store_rig_put(&rig, &put, "new", 0, 10, 20, 10), 0);
    store_rig_part(&rig, "new", 20, part);
    set_age(part, 25);
    store_rig_reopen(&rig);
    assert_int_equal(offset_of("new"), 10);
    /* Digests of nothing go too. */
    store_rig_write_file(&rig, ".gone.sha256", "x", 1);
    unsigned files = store_rig_files(&rig);
    store_rig_reopen(&rig);
    assert_true(store_rig_find(&rig, "image", &entry));
    assert_int_equal(store_rig_files(&rig), files - 1);
}

static void a_sweep_leaves_what_is_written(void **state)
{
    (void)state;
    char part[400];
    rig.options.partial_age_ms = 1;
    store_rig_reopen(&rig);
    const uint64_t size = 8u << 20;
    store_rig_start(&rig, &put, "a", 0, size, size, size, 4096);
    while (put.given == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    store_rig_part(&rig, "a", size, part);
    set_age(part, 25);
    uv_walk(&rig.loop, sweep_now, NULL);
    store_rig_until(&rig, &put.done);
    assert_int_equal(put.piece.status, 0);
    store_rig_check_image(&rig, "a", (size_t)size);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void on_listed(struct store_list *list)
{
    *(bool *)list->owner = true;
}

static void closing_ends_what_runs(void **state)
{
    (void)state;
    struct store_rig_put waiting[STORE_WRITERS_MAX + 1];
    char names[STORE_WRITERS_MAX + 1][8];
    const uint64_t size = 8u << 20;
    for (unsigned turns = 0; turns < 40; turns++) {
        bool closed = false, listed = false, late = false;
        struct store_list list = {.done = on_listed, .owner = &listed}, refused = {.done = on_listed, .owner = &late};
        store_rig_start(&rig, &put, "a", 0, size, size, size, 16384);
        for (unsigned i = 0; i <= STORE_WRITERS_MAX; i++) {
            sprintf(names[i], "w%u", i);
            store_rig_start(&rig, &waiting[i], names[i], 0, 10, 20, 10, 10);
        }
        for (unsigned i = 0; i < turns; i++)
            uv_run(&rig.loop, UV_RUN_NOWAIT);
        store_list(rig.store, &list);
        store_close(rig.store, on_closed, &closed);
        struct store_rig_put after;
        store_rig_start(&rig, &after, "b", 0, 10, 20, 10, 10);
        store_list(rig.store, &refused);
        store_rig_until(&rig, &closed);
        assert_true(put.done && listed && after.done && late);
        assert_int_equal(list.status, 0);
        assert_int_equal(refused.status, -ECANCELED);
        assert_int_equal(after.piece.status, -ECANCELED);
        for (unsigned i = 0; i <= STORE_WRITERS_MAX; i++)
            assert_true(waiting[i].done);
        assert_int_equal(put.piece.status, put.given < size ? -ECANCELED : 0);
        assert_int_equal(put.piece.offset, put.given); /* all that was taken is there */
        store_rig_open(&rig);
        if (put.piece.complete) {
            store_rig_check_image(&rig, "a", (size_t)size);
            assert_int_equal(store_rig_remove(&rig, "a"), 0);
        } else {
            assert_int_equal(offset_of("a"), put.given);
            store_rig_remove(&rig, "a");
        }
        for (unsigned i = 0; i <= STORE_WRITERS_MAX; i++)
            store_rig_remove(&rig, names[i]);
        assert_int_equal(store_rig_files(&rig), 0);
    }
}

/* In a process of its own: uploads until it is killed. */
static _Noreturn void upload_on(uint64_t offset, uint64_t size)
{
    struct store_rig child = rig;
    uv_loop_init(&child.loop);
    defer_init(&child.loop);
    store_rig_open(&child);
    store_rig_put(&child, &put, "a", offset, size - offset, size, size - offset);
    _exit(put.piece.status == 0 ? 0 : 1);
}

static void killed_at_any_time_no_half_image_is_seen(void **state)
{
    (void)state;
    const uint64_t size = 15u << 20;
    uint64_t offset = 0;
    char sha256[STORE_SHA256];
    struct store_entry entry;
    bool done = false;
    unsigned killed = 0;
    store_rig_digest((size_t)size, sha256);
    for (unsigned round = 0; !done && round < 200; round++) {
        int status;
        store_rig_close(&rig);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            upload_on(offset, size);
        usleep((1000u << round / 10) + round * 7919 % 1000); /* sooner or later it gets through */
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status);
        store_rig_open(&rig);
        bool there = store_rig_find(&rig, "a", &entry);
        assert_true(!there || entry.size == size);
        done = there && entry.complete;
        /* Killed between the last byte and the name, it goes back to the last sync. */
        assert_true(!there || done || (entry.offset >= offset && entry.offset < size) ||
                    entry.offset == (size - 1) / STORE_SYNC * STORE_SYNC);
        offset = there ? entry.offset : 0;
        if (done)
            assert_string_equal(entry.sha256, sha256);
        assert_true(done || WIFSIGNALED(status));
    }
    assert_true(done);
    assert_true(killed > 5);
    store_rig_check_image(&rig, "a", (size_t)size);
    assert_int_equal(store_rig_files(&rig), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, store_rig_setup, store_rig_teardown, &rig)
    const struct CMUnitTest tests[] = {
        TEST(killed_at_any_time_no_half_image_is_seen),
        TEST(an_upload_goes_on_after_a_restart),
        TEST(hashing_again_can_be_cut),
        TEST(a_part_that_was_written_to_is_hashed_again),
        TEST(after_a_boot_only_what_was_synced_is_trusted),
        TEST(a_part_with_all_its_bytes_is_no_image),
        TEST(an_end_that_fails_can_be_tried_again),
        TEST(nobody_goes_on_with_it_then_it_goes),
        TEST(a_sweep_leaves_what_is_written),
        TEST(closing_ends_what_runs),
    };
    log_set_level(LOG_LEVEL_WARNING);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
