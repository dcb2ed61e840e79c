/* Uploads in one run of the store: names, pieces, bounds, what is listed and removed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "base/text.h"
#include "store_rig.h"

static struct store_rig rig;
static struct store_rig_put put;

static void assert_image(const char *name, size_t size)
{
    struct store_entry entry;
    char sha256[STORE_SHA256];
    store_rig_digest(size, sha256);
    assert_true(put.piece.complete);
    assert_string_equal(put.piece.sha256, sha256);
    store_rig_check_image(&rig, name, size);
    assert_true(store_rig_find(&rig, name, &entry));
    assert_true(entry.complete);
    assert_int_equal(entry.size, size);
    assert_int_equal(entry.offset, size);
    assert_string_equal(entry.sha256, sha256);
}

/* --- names --- */

static void names_are_one_clean_segment(void **state)
{
    (void)state;
    static const char *const good[] = {"a",
                                       "debian-12.iso",
                                       "with space",
                                       "\xc3\xa4.img",
                                       "\xf0\x9f\x92\xbf",
                                       "a.part",
                                       "a.1-00000000.part",
                                       "-",
                                       "~",
                                       "\xed\x9f\xbf",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xc2\xa0"};
    static const char *const bad[] = {"",
                                      ".",
                                      "..",
                                      ".hidden",
                                      "a/b",
                                      "/",
                                      "a\n",
                                      "\x7f",
                                      "\x01",
                                      "\xc2\x80",
                                      "\xc2\x9f",
                                      "\xc0\xaf",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80",
                                      "\x80",
                                      "a\xc3",
                                      "a\xe2\x82",
                                      "\xc3(",
                                      "\xff"};
    char longest[STORE_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_null(store_name_problem(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_non_null(store_name_problem(bad[i]));
    memset(longest, 'x', sizeof longest);
    longest[STORE_NAME_MAX + 1] = 0;
    assert_non_null(store_name_problem(longest));
    longest[STORE_NAME_MAX] = 0;
    assert_null(store_name_problem(longest));
    assert_int_equal(store_rig_put(&rig, &put, longest, 0, 5, 5, 5), 0);
    assert_image(longest, 5);
    assert_int_equal(store_rig_put(&rig, &put, "../x", 0, 5, 5, 5), -EINVAL);
    assert_non_null(strstr(put.piece.error, "dot"));
    assert_int_equal(store_rig_remove(&rig, "a/b"), -EINVAL);
    assert_null(store_path(rig.store, ".."));
    char *path = store_path(rig.store, "x.iso");
    assert_string_equal(path + strlen(rig.path), "/x.iso");
    mem_free(path);
}

static void part_files_are_told_from_others(void **state)
{
    (void)state;
    struct store_part_name part;
    char file[STORE_FILE_MAX], name[STORE_NAME_MAX + 2];
    static const char *const bad[] = {"a.5-00000000.part",
                                      ".a.5-0000000.part",
                                      ".a.5-000000000.part",
                                      ".a.-00000000.part",
                                      ".a.05-00000000.part",
                                      ".a.0-00000000.part",
                                      ".a-00000000.part",
                                      ".5-00000000.part",
                                      ".a.5-0000000G.part",
                                      ".a.5-00000000.par",
                                      ".a.9223372036854775808-00000000.part",
                                      ".part",
                                      ".",
                                      "..",
                                      ".a.5.part",
                                      "..a.5-00000000.part",
                                      ".a.+5-00000000.part",
                                      ".\xff.5-00000000.part"};
    memset(name, 'n', STORE_NAME_MAX);
    name[STORE_NAME_MAX] = 0;
    store_part_file(file, name, INT64_MAX, "0123abcd");
    assert_true(strlen(file) < 255);
    assert_true(store_part_parse(file, &part));
    assert_string_equal(part.name, name);
    assert_true(part.size == INT64_MAX);
    assert_string_equal(part.boot, "0123abcd");
    store_part_file(file, "a.7-00000000.part", 5, "00000001");
    assert_true(store_part_parse(file, &part));
    assert_string_equal(part.name, "a.7-00000000.part");
    assert_int_equal(part.size, 5);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (store_part_parse(bad[i], &part))
            fail_msg("%s is a part", bad[i]);
    store_digest_file(file, "x.sha256");
    assert_true(store_digest_parse(file, name));
    assert_string_equal(name, "x.sha256");
    assert_false(store_digest_parse("x.sha256", name));
    assert_false(store_digest_parse(".sha256", name));
}

static void refuse_directory(const char *path, const char *words)
{
    char error[STORE_ERROR_MAX] = "";
    struct store_options options = {.directory = path, .max_bytes = 1};
    assert_null(store_new(&rig.loop, &options, error));
    if (!strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error, words);
}

static void only_a_directory_of_ones_own_is_used(void **state)
{
    (void)state;
    char path[200];
    struct stat st;
    assert_int_equal(stat(rig.path, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    refuse_directory(rig.path, "another process or store");
    snprintf(path, sizeof path, "%s/link", rig.folder);
    assert_int_equal(symlink(rig.path, path), 0);
    refuse_directory(path, "symbolic link");
    strcat(path, "/");
    refuse_directory(path, "symbolic link");
    snprintf(path, sizeof path, "%s/none/uploads", rig.folder);
    refuse_directory(path, "No such file");
    snprintf(path, sizeof path, "%s/file", rig.path);
    store_rig_write_file(&rig, "file", "", 0);
    refuse_directory(path, "not a directory");
    snprintf(path, sizeof path, "%s/open", rig.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0720), 0);
    refuse_directory(path, "others may write");
}

/* --- pieces --- */

static void an_image_comes_in_pieces(void **state)
{
    (void)state;
    struct store_entry entry;
    assert_int_equal(store_rig_put(&rig, &put, "a.iso", 0, 1000, 3000, 1000), 0);
    assert_int_equal(put.piece.offset, 1000);
    assert_false(put.piece.complete);
    assert_true(store_rig_find(&rig, "a.iso", &entry));
    assert_false(entry.complete);
    assert_int_equal(entry.size, 3000);
    assert_int_equal(entry.offset, 1000);
    assert_string_equal(entry.sha256, "");
    assert_true(entry.modified > 1600000000000);
    assert_int_equal(store_rig_put(&rig, &put, "a.iso", 1000, 1999, 3000, 1999), 0);
    assert_int_equal(store_rig_put(&rig, &put, "a.iso", 2999, 1, 3000, 1), 0);
    assert_int_equal(put.piece.offset, 3000);
    assert_image("a.iso", 3000);
    assert_int_equal(store_rig_files(&rig), 2); /* and its digest */
    assert_int_equal(store_rig_put(&rig, &put, "whole", 0, 77, 77, 77), 0);
    assert_image("whole", 77);
}

static void only_the_piece_that_comes_next_is_taken(void **state)
{
    (void)state;
    assert_int_equal(store_rig_put(&rig, &put, "a", 1, 10, 100, 10), -ERANGE);
    assert_int_equal(put.piece.offset, 0);
    assert_int_equal(store_rig_files(&rig), 0);
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 10, 100, 10), 0);
    static const uint64_t firsts[] = {0, 9, 11, 99};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        assert_int_equal(store_rig_put(&rig, &put, "a", firsts[i], 1, 100, 1), -ERANGE);
        assert_int_equal(put.piece.offset, 10);
        assert_int_equal(put.given, 0);
    }
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, 10, 101, 10), -ERANGE); /* of another size */
    assert_non_null(strstr(put.piece.error, "100 bytes"));
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, 91, 100, 91), -EINVAL);
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, 0, 100, 0), -EINVAL);
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 1, 0, 1), -EINVAL);
    assert_int_equal(store_rig_put(&rig, &put, "a", UINT64_MAX, 2, UINT64_MAX, 2), -EINVAL);
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, UINT64_MAX, 100, 2), -EINVAL);
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, 90, 100, 90), 0);
    assert_image("a", 100);
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 10, 100, 10), -EEXIST);
    assert_int_equal(put.piece.offset, 100);
    store_rig_check_image(&rig, "a", 100);
}

static void a_cut_anywhere_is_gone_on_from(void **state)
{
    (void)state;
    struct store_entry entry;
    for (uint64_t k = 0; k < 200; k++) {
        assert_int_equal(store_rig_put(&rig, &put, "a", 0, 200, 200, k), -ECANCELED);
        assert_int_equal(put.piece.offset, k);
        assert_int_equal(store_rig_find(&rig, "a", &entry), k > 0);
        assert_true(k == 0 || (!entry.complete && entry.offset == k));
        assert_int_equal(store_rig_put(&rig, &put, "a", k, 200 - k, 200, 200 - k), 0);
        assert_image("a", 200);
        assert_int_equal(store_rig_remove(&rig, "a"), 0);
        assert_int_equal(store_rig_files(&rig), 0);
    }
}

static void a_long_image_is_cut_around_its_syncs(void **state)
{
    (void)state;
    static const uint64_t cuts[] = {STORE_SYNC - 1, STORE_SYNC, STORE_SYNC + 1, STORE_BUFFER_MAX, 3 * STORE_SYNC};
    const uint64_t size = 3 * STORE_SYNC + 1;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        assert_int_equal(store_rig_put(&rig, &put, "a", 0, size, size, cuts[i]), -ECANCELED);
        assert_int_equal(put.piece.offset, cuts[i]);
        assert_int_equal(store_rig_put(&rig, &put, "a", cuts[i], size - cuts[i], size, size - cuts[i]), 0);
        assert_image("a", (size_t)size);
        assert_int_equal(store_rig_remove(&rig, "a"), 0);
    }
}

static void an_upload_has_one_writer(void **state)
{
    (void)state;
    struct store_rig_put second;
    store_rig_start(&rig, &put, "a", 0, 1000, 1000, 400, 100);
    assert_int_equal(store_rig_put(&rig, &second, "a", 0, 1000, 1000, 1000), -EBUSY);
    assert_false(second.piece.complete);
    store_rig_until(&rig, &put.done);
    assert_int_equal(put.piece.offset, 400);
    store_rig_start(&rig, &put, "a", 400, 600, 1000, 600, 100);
    assert_int_equal(store_rig_remove(&rig, "a"), -EBUSY);
    store_rig_until(&rig, &put.done);
    assert_int_equal(put.piece.status, 0);
    assert_image("a", 1000);
}

static void more_than_may_work_wait(void **state)
{
    (void)state;
    struct store_rig_put puts[STORE_WRITERS_MAX * 3];
    char names[STORE_WRITERS_MAX * 3][8];
    for (unsigned i = 0; i < STORE_WRITERS_MAX * 3; i++) {
        sprintf(names[i], "n%u", i);
        store_rig_start(&rig, &puts[i], names[i], 0, 100000, 100000, 100000, 1000);
    }
    store_cut(&puts[STORE_WRITERS_MAX * 3 - 1].piece); /* it has not begun */
    store_cut(&puts[STORE_WRITERS_MAX * 3 - 1].piece);
    for (unsigned i = 0; i < STORE_WRITERS_MAX * 3; i++) {
        store_rig_until(&rig, &puts[i].done);
        assert_int_equal(puts[i].piece.status, i < STORE_WRITERS_MAX * 3 - 1 ? 0 : -ECANCELED);
    }
    assert_int_equal(store_rig_files(&rig), 2 * (STORE_WRITERS_MAX * 3 - 1));
}

static void a_slow_disk_pauses_the_writer(void **state)
{
    (void)state;
    const uint64_t size = 8u << 20;
    store_rig_start(&rig, &put, "a", 0, size, size, size, 16384);
    while (put.given == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    store_rig_hold_threads(&rig); /* waits for what is being written */
    store_rig_turn(&rig, 20);
    uint64_t given = put.given;
    assert_true(put.piece.filling.used + put.piece.writing.used <= STORE_BUFFER_MAX + 2 * 16384);
    store_rig_turn(&rig, 20);
    assert_int_equal(put.given, given); /* no more of it */
    store_rig_release_threads(&rig);
    store_rig_until(&rig, &put.done);
    assert_true(put.pauses > 0);
    assert_image("a", (size_t)size);
}

/* --- bounds --- */

static void the_sum_of_all_is_bounded(void **state)
{
    (void)state;
    struct store_list list;
    rig.options.max_bytes = 1000;
    store_rig_reopen(&rig);
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 1001, 1001, 1001), -EFBIG);
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 10, 600, 10), 0); /* counts as 600 */
    store_rig_list(&rig, &list);
    assert_int_equal(list.free, 400);
    free(list.found);
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 401, 401, 401), -ENOSPC);
    assert_non_null(strstr(put.piece.error, "only 400 B"));
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 400, 400, 400), 0);
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, 590, 600, 590), 0); /* has its room */
    assert_int_equal(store_rig_put(&rig, &put, "c", 0, 1, 1, 1), -ENOSPC);
    assert_int_equal(store_rig_remove(&rig, "a"), 0);
    assert_int_equal(store_rig_put(&rig, &put, "c", 0, 1, 1, 1), 0);
    rig.options.max_bytes = 0;
    store_rig_reopen(&rig);
    assert_int_equal(store_rig_put(&rig, &put, "d", 0, 1, 1, 1), -EOPNOTSUPP);
    store_rig_list(&rig, &list);
    assert_int_equal(list.free, 0);
    assert_int_equal(list.count, 2);
    free(list.found);
}

static void the_file_system_is_not_filled(void **state)
{
    (void)state;
    struct store_list list;
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 10, 20, 10), 0);
    rig.options.keep_free = UINT64_MAX;
    store_rig_reopen(&rig);
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 1, 1, 1), -ENOSPC);
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, 10, 20, 10), -ENOSPC);
    assert_int_equal(put.piece.offset, 10);
    store_rig_list(&rig, &list);
    assert_int_equal(list.free, 0);
    free(list.found);
    rig.options.keep_free = 0;
    rig.options.max_bytes = UINT64_MAX;
    store_rig_reopen(&rig);
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 1, INT64_MAX, 1), -ENOSPC);
    assert_int_equal(store_rig_put(&rig, &put, "a", 10, 10, 20, 10), 0);
    /* What is still to come of a part is not free for others. */
    store_rig_list(&rig, &list);
    free(list.found);
    uint64_t before = list.free;
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 1, before / 2, 1), 0);
    store_rig_list(&rig, &list);
    free(list.found);
    assert_true(list.free < before / 4 * 3);
}

static void the_number_is_bounded(void **state)
{
    (void)state;
    struct store_list list;
    char name[16];
    rig.options.max_count = 3;
    store_rig_reopen(&rig);
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 1, 1, 1), 0);
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 1, 2, 1), 0);
    assert_int_equal(store_rig_put(&rig, &put, "c", 0, 1, 2, 1), 0);
    assert_int_equal(store_rig_put(&rig, &put, "d", 0, 1, 1, 1), -ENOSPC);
    assert_non_null(strstr(put.piece.error, "3 uploads"));
    assert_int_equal(store_rig_put(&rig, &put, "b", 1, 1, 2, 1), 0);
    for (unsigned i = 0; i < 70; i++) {
        sprintf(name, "by-hand-%u", i);
        store_rig_write_file(&rig, name, "xx", 2);
    }
    store_rig_list(&rig, &list);
    assert_int_equal(list.status, 0);
    assert_int_equal(list.count, 3);
    free(list.found);
}

static void a_full_disk_keeps_what_it_took(void **state)
{
    (void)state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 100001;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = store_rig_put(&rig, &put, "a", 0, 300000, 300000, 300000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, -ENOSPC);
    assert_non_null(strstr(put.piece.error, "full"));
    assert_int_equal(put.piece.offset, 100001);
    assert_int_equal(store_rig_put(&rig, &put, "a", 100001, 199999, 300000, 199999), 0);
    assert_image("a", 300000);
}

/* --- what is in the directory --- */

static void check_untouched(const char *path)
{
    char text[8] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, sizeof text, file), 6);
    fclose(file);
    assert_string_equal(text, "secret");
}

static void nothing_is_followed(void **state)
{
    (void)state;
    char target[200], part[400];
    struct store_entry entry;
    struct stat st;
    snprintf(target, sizeof target, "%s/target", rig.folder);
    store_rig_write_file(&rig, "../target", "secret", 6);
    for (int kind = 0; kind < 4; kind++) {
        assert_int_equal(store_rig_put(&rig, &put, "a", 0, 6, 100, 6), 0);
        store_rig_part(&rig, "a", 100, part);
        assert_int_equal(unlink(part), 0);
        assert_int_equal(kind == 0   ? symlink(target, part)
                         : kind == 1 ? link(target, part)
                         : kind == 2 ? mkfifo(part, 0600)
                                     : mkdir(part, 0700),
                         0);
        /* A link is as long as what it replaced, the others are not seen at all. */
        assert_int_equal(store_rig_put(&rig, &put, "a", kind == 1 ? 6 : 0, 94, 100, 94), -EIO);
        check_untouched(target);
        assert_int_equal(store_rig_remove(&rig, "a"), kind == 1 ? 0 : -ENOENT);
        assert_int_equal(lstat(part, &st), kind == 1 ? -1 : 0);
        remove(part);
    }
    snprintf(part, sizeof part, "%s/image", rig.path);
    assert_int_equal(symlink(target, part), 0);
    assert_false(store_rig_find(&rig, "image", &entry));
    assert_int_equal(store_rig_put(&rig, &put, "image", 0, 6, 6, 6), -EEXIST);
    assert_int_equal(store_rig_remove(&rig, "image"), -ENOENT);
    check_untouched(target);
}

static void an_image_is_never_replaced(void **state)
{
    (void)state;
    store_rig_start(&rig, &put, "a", 0, 1000, 1000, 1000, 100);
    while (put.given == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    store_rig_write_file(&rig, "a", store_rig_data(), 5);
    store_rig_until(&rig, &put.done);
    assert_int_equal(put.piece.status, -EEXIST);
    assert_non_null(strstr(put.piece.error, "already"));
    assert_false(put.piece.complete);
    store_rig_check_image(&rig, "a", 5);
    assert_int_equal(store_rig_remove(&rig, "a"), 0);
    assert_int_equal(store_rig_files(&rig), 0);
}

static void images_by_hand_have_no_digest(void **state)
{
    (void)state;
    struct store_entry entry;
    store_rig_write_file(&rig, "hand", "xyz", 3);
    store_rig_write_file(&rig, ".hand.sha256", "0", 1);
    assert_true(store_rig_find(&rig, "hand", &entry));
    assert_true(entry.complete);
    assert_int_equal(entry.size, 3);
    assert_string_equal(entry.sha256, "");
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 50, 50, 50), 0);
    assert_image("a", 50);
    usleep(20000); /* a tick of the clock that files get their times from */
    store_rig_write_file(&rig, "a", store_rig_data(), 50);
    assert_true(store_rig_find(&rig, "a", &entry));
    assert_string_equal(entry.sha256, "");
    /* What is no image is not listed. */
    store_rig_write_file(&rig, ".dot", "x", 1);
    store_rig_write_file(&rig, "\xff", "x", 1);
    assert_false(store_rig_find(&rig, ".dot", &entry));
    assert_false(store_rig_find(&rig, "\xff", &entry));
}

static void removal_takes_all_that_belongs_to_it(void **state)
{
    (void)state;
    assert_int_equal(store_rig_remove(&rig, "a"), -ENOENT);
    assert_int_equal(store_rig_put(&rig, &put, "a", 0, 50, 50, 50), 0);
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 20, 50, 20), 0);
    store_rig_write_file(&rig, ".a.77-00000000.part", "x", 1);
    assert_int_equal(store_rig_remove(&rig, "a"), 0);
    assert_int_equal(store_rig_remove(&rig, "a"), -ENOENT);
    assert_int_equal(store_rig_remove(&rig, "b"), 0);
    assert_int_equal(store_rig_files(&rig), 0);
    /* The same name again, with other bytes where the old ones were. */
    assert_int_equal(store_rig_put(&rig, &put, "b", 0, 30, 30, 30), 0);
    assert_image("b", 30);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct store_rig_put puts[STORE_COUNT_MAX + 1];
    char names[STORE_COUNT_MAX + 1][8], part[400];
    store_rig_hold_threads(&rig);
    for (unsigned i = 0; i <= STORE_COUNT_MAX; i++) {
        sprintf(names[i], "n%u", i);
        store_rig_start(&rig, &puts[i], names[i], 0, 10, 20, 10, 10);
    }
    store_rig_until(&rig, &puts[STORE_COUNT_MAX].done);
    assert_int_equal(puts[STORE_COUNT_MAX].piece.status, -EAGAIN);
    assert_false(puts[STORE_COUNT_MAX - 1].done);
    store_rig_release_threads(&rig);
    for (unsigned i = 0; i < STORE_COUNT_MAX; i++)
        store_rig_until(&rig, &puts[i].done);
    /* A part that went by hand: what is remembered of it, or of another, makes room. */
    store_rig_part(&rig, "n1", 20, part);
    assert_int_equal(unlink(part), 0);
    assert_int_equal(store_rig_put(&rig, &put, "one-more", 0, 10, 20, 10), 0);
    for (unsigned i = 2; i < STORE_COUNT_MAX; i += 61) {
        assert_int_equal(store_rig_put(&rig, &put, names[i], 10, 10, 20, 10), 0);
        assert_image(names[i], 20);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, store_rig_setup, store_rig_teardown, &rig)
    const struct CMUnitTest tests[] = {
        TEST(names_are_one_clean_segment),
        TEST(part_files_are_told_from_others),
        TEST(only_a_directory_of_ones_own_is_used),
        TEST(an_image_comes_in_pieces),
        TEST(only_the_piece_that_comes_next_is_taken),
        TEST(a_cut_anywhere_is_gone_on_from),
        TEST(a_long_image_is_cut_around_its_syncs),
        TEST(an_upload_has_one_writer),
        TEST(more_than_may_work_wait),
        TEST(a_slow_disk_pauses_the_writer),
        TEST(the_sum_of_all_is_bounded),
        TEST(the_file_system_is_not_filled),
        TEST(the_number_is_bounded),
        TEST(a_full_disk_keeps_what_it_took),
        TEST(nothing_is_followed),
        TEST(an_image_is_never_replaced),
        TEST(images_by_hand_have_no_digest),
        TEST(removal_takes_all_that_belongs_to_it),
        TEST(the_queue_is_bounded),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
