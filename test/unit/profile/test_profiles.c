/* Boot profiles as text, and the folder in which they are kept. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "base/text.h"
#include "profile/profiles.h"

#define CLUSTER PROFILE_CLUSTER_MIN
#define SIZE    (1ull << 32)

static uv_loop_t loop;
static struct profiles *profiles;
static char folder[] = "/tmp/np-profiles-XXXXXX", directory[48];
static struct profile profile = {.size = SIZE, .cluster = CLUSTER, .count = 2, .runs = {{7, 20, 0}, {3, 1, 1500}}};
static const struct profile_image image = {.name = "rescue \"x\".iso", .validator = "\"5f-61\" grüße"};

/* --- text --- */

static bool parse(const char *text, const char **error)
{
    static struct profile out;
    return profile_from_json(text, strlen(text), &out, NULL, error);
}

static void a_profile_survives_as_text(void **state)
{
    (void)state;
    struct profile back = {0};
    struct profile_image of;
    const char *error;
    char *text = profile_to_json(&profile, &image);
    assert_non_null(text);
    assert_true(profile_from_json(text, strlen(text), &back, &of, &error));
    assert_memory_equal(&back, &profile, sizeof back);
    assert_string_equal(of.name, image.name);
    assert_string_equal(of.validator, image.validator);
    mem_free(text);
}

static void the_longest_profile_fits(void **state)
{
    (void)state;
    static struct profile longest = {.size = 8ull << 30, .count = PROFILE_RUNS_MAX};
    struct profile_image of = {0};
    longest.cluster = profile_cluster(longest.size - 1);
    longest.size--;
    for (uint32_t i = 0; i < PROFILE_RUNS_MAX; i++)
        longest.runs[i] =
            (struct profile_run){131000 - 200 * (i + 1), i % 2 ? 99 : 100, PROFILE_MS_MAX - PROFILE_RUNS_MAX + i};
    memset(of.name, '"', sizeof of.name - 1);
    memset(of.validator, '"', sizeof of.validator - 1);
    assert_true(profile_is_valid(&longest));
    char *text = profile_to_json(&longest, &of);
    assert_non_null(text);
    mem_free(text);
}

static void what_is_no_profile_is_refused_in_words(void **state)
{
    (void)state;
    const char *error;
    char *large = mem_alloc(PROFILE_JSON_MAX + 2);
    memset(large, ' ', PROFILE_JSON_MAX + 1);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"profile\": 2, \"size\": 65536, \"cluster\": 65536, \"runs\": []}",
        "{\"profile\": 1, \"size\": -1, \"cluster\": 65536, \"runs\": []}",
        "{\"profile\": 1, \"size\": 65536.5, \"cluster\": 65536, \"runs\": []}",
        "{\"profile\": 1, \"size\": 65536, \"cluster\": 0, \"runs\": []}",
        "{\"profile\": 1, \"size\": 65536, \"cluster\": 65536}",
        "{\"profile\": 1, \"size\": 65536, \"cluster\": 65536, \"runs\": [[0, 1]]}",
        "{\"profile\": 1, \"size\": 65536, \"cluster\": 65536, \"runs\": [[0, 1, -1]]}",
        "{\"profile\": 1, \"size\": 65536, \"cluster\": 65536, \"runs\": [[0, 4294967297, 0]]}",
        "{\"profile\": 1, \"size\": 65536, \"cluster\": 65536, \"runs\": [[1, 1, 0]]}",
        "{\"profile\": 1, \"size\": 65536, \"cluster\": 65536, \"runs\": {\"0\": 1}}",
    };
    assert_true(parse("{\"profile\": 1, \"size\": 65536, \"cluster\": 65536, \"runs\": [[0, 1, 0]]}", &error));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(parse(bad[i], &error));
        assert_string_equal(error, "it is no boot profile");
    }
    assert_false(parse("<html>", &error));
    assert_string_equal(error, "it is no JSON");
    assert_false(parse(large, &error));
    assert_string_equal(error, "it is longer than a boot profile can be");
    mem_free(large);
}

/* --- the folder --- */

static void on_flag(void *arg)
{
    *(bool *)arg = true;
}

static void folder_open(void)
{
    profiles = profiles_new(&loop);
    profiles_use(profiles, directory);
}

static void folder_close(void)
{
    bool closed = false;
    profiles_close(profiles, on_flag, &closed);
    assert_false(closed);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
}

static bool loaded;

static void on_loaded(struct profile_load *load)
{
    (void)load;
    loaded = true;
}

static bool find(uint64_t size, const char *name, const char *validator, struct profile *found)
{
    static struct profile_load load;
    load = (struct profile_load){.size = size, .done = on_loaded};
    snprintf(load.image.name, sizeof load.image.name, "%s", name);
    snprintf(load.image.validator, sizeof load.image.validator, "%s", validator);
    loaded = false;
    profiles_load(profiles, &load);
    assert_false(loaded);
    while (!loaded)
        uv_run(&loop, UV_RUN_ONCE);
    if (found)
        *found = load.profile;
    return load.found;
}

static unsigned count_files(void)
{
    char command[128];
    unsigned count = 0;
    snprintf(command, sizeof command, "ls -A %s | wc -l", directory);
    FILE *pipe = popen(command, "r");
    assert_int_equal(fscanf(pipe, "%u", &count), 1);
    pclose(pipe);
    return count;
}

static void keep(const struct profile *what, const char *validator)
{
    struct profile_image of = image;
    snprintf(of.validator, sizeof of.validator, "%s", validator);
    folder_open();
    profiles_keep(profiles, what, &of);
    folder_close(); /* what is being kept is kept first */
}

static void a_profile_is_found_by_size_and_validator(void **state)
{
    (void)state;
    struct profile found;
    struct stat st;
    keep(&profile, "v1");
    folder_open();
    assert_int_equal(stat(directory, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(find(SIZE, "another name.iso", "v1", &found));
    assert_memory_equal(found.runs, profile.runs, 2 * sizeof *found.runs);
    assert_false(find(SIZE, image.name, "v2", NULL));
    assert_false(find(SIZE, image.name, "", NULL));
    assert_false(find(SIZE + 1, image.name, "v1", NULL));
    folder_close();
}

static void without_a_validator_the_name_tells(void **state)
{
    (void)state;
    keep(&profile, "");
    folder_open();
    assert_true(find(SIZE, image.name, "", NULL));
    assert_false(find(SIZE, "other.iso", "", NULL));
    folder_close();
}

static void the_newest_is_what_is_kept(void **state)
{
    (void)state;
    struct profile found, other = profile;
    other.runs[0].first = 100;
    keep(&profile, "v1");
    keep(&other, "v1");
    folder_open();
    assert_true(find(SIZE, "", "v1", &found));
    assert_int_equal(found.runs[0].first, 100);
    folder_close();
}

static void what_lies_there_is_checked(void **state)
{
    (void)state;
    char command[256];
    keep(&profile, "v1");
    snprintf(command, sizeof command, "for f in %s/*; do head -c 90 $f > $f.x && mv $f.x $f; done", directory);
    assert_int_equal(system(command), 0);
    folder_open();
    assert_false(find(SIZE, "", "v1", NULL));
    folder_close();
    snprintf(command, sizeof command, "for f in %s/*; do rm $f; mkfifo $f; done", directory);
    assert_int_equal(system(command), 0);
    folder_open();
    assert_false(find(SIZE, "", "v1", NULL)); /* and it does not hang */
    folder_close();
}

static void those_that_were_not_used_go(void **state)
{
    (void)state;
    char name[16], command[256];
    for (unsigned i = 0; i < PROFILES_MAX; i++) {
        snprintf(name, sizeof name, "v%u", i);
        keep(&profile, name);
    }
    snprintf(command, sizeof command, "touch -d 2001-01-01 %s/*; touch %s/a.file", directory, directory);
    assert_int_equal(system(command), 0);
    folder_open();
    assert_true(find(SIZE, "", "v0", NULL)); /* so it is used, now */
    folder_close();
    keep(&profile, "w1");
    keep(&profile, "w2");
    folder_open();
    assert_int_equal(count_files(), PROFILES_MAX + 1);
    assert_true(find(SIZE, "", "v0", NULL));
    assert_true(find(SIZE, "", "w1", NULL));
    assert_true(find(SIZE, "", "w2", NULL));
    folder_close();
}

static void without_a_folder_nothing_is_kept(void **state)
{
    (void)state;
    profiles = profiles_new(&loop);
    profiles_keep(profiles, &profile, &image);
    assert_false(find(SIZE, image.name, image.validator, NULL));
    profiles_use(profiles, "/proc/nowhere/profiles"); /* it can't be made: that is logged */
    profiles_keep(profiles, &profile, &image);
    folder_close();
}

static void many_at_once_are_bounded(void **state)
{
    (void)state;
    struct profile_image of = image;
    folder_open();
    for (unsigned i = 0; i < 3 * PROFILES_JOBS_MAX; i++) {
        snprintf(of.validator, sizeof of.validator, "%u", i / 2); /* each twice */
        profiles_keep(profiles, &profile, &of);
    }
    folder_close();
    assert_true(count_files() <= PROFILES_JOBS_MAX);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/np-profiles-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(directory, sizeof directory, "%s/profiles", folder);
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR - 1);
    uv_loop_init(&loop);
    defer_init(&loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    defer_close(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_survives_as_text),
        cmocka_unit_test(the_longest_profile_fits),
        cmocka_unit_test(what_is_no_profile_is_refused_in_words),
        cmocka_unit_test_setup_teardown(a_profile_is_found_by_size_and_validator, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_validator_the_name_tells, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_newest_is_what_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_lies_there_is_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_that_were_not_used_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_folder_nothing_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_at_once_are_bounded, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
