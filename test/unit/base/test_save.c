/* A file that is written anew: in what order the file system is told, and what is said when it fails. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/defer.h"
#include "base/log.h"
#include "base/save.h"
#include "base/text.h"

struct rig {
    uv_loop_t loop;
    struct save save;
    char folder[64], path[80];
    bool idle;
};

static char calls[64]; /* in their order: f: a file is synced, r: it is renamed, d: the folder is synced */
static int folder_error;
static char logged[256];

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

int __wrap_fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    bool folder = S_ISDIR(st.st_mode);
    strcat(calls, folder ? "d" : "f");
    errno = folder_error;
    return folder && folder_error ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    strcat(calls, "r");
    return __real_rename(from, to);
}

static int setup(void **state)
{
    struct rig *rig = mem_alloc(sizeof *rig);
    strcpy(rig->folder, "/tmp/test_save_XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->path, sizeof rig->path, "%s/state.json", rig->folder);
    uv_loop_init(&rig->loop);
    defer_init(&rig->loop);
    save_init(&rig->save, &rig->loop, mem_strdup(rig->path), "it would be lost");
    *calls = '\0';
    folder_error = 0;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    save_free(&rig->save);
    defer_close(&rig->loop);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    unlink(rig->path);
    assert_int_equal(rmdir(rig->folder), 0); /* nothing is left beside the file */
    mem_free(rig);
    return 0;
}

static void on_idle(void *arg)
{
    bool *idle = arg;
    *idle = true;
}

/* Writes it, and waits. What went to stderr is in `logged`. */
static void write_text(struct rig *rig, const char *text)
{
    FILE *log = tmpfile();
    int stderr_of_before = dup(STDERR_FILENO);
    assert_non_null(log);
    fflush(stderr);
    dup2(fileno(log), STDERR_FILENO);
    rig->idle = false;
    save_text(&rig->save, mem_strdup(text));
    save_flush(&rig->save, on_idle, &rig->idle);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_true(rig->idle);
    fflush(stderr);
    dup2(stderr_of_before, STDERR_FILENO);
    close(stderr_of_before);
    rewind(log);
    logged[fread(logged, 1, sizeof logged - 1, log)] = '\0';
    fclose(log);
}

static void expect_content(const struct rig *rig, const char *text)
{
    char content[64];
    FILE *file = fopen(rig->path, "r");
    assert_non_null(file);
    content[fread(content, 1, sizeof content - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(content, text);
}

static void the_folder_is_synced_after_the_rename(void **state)
{
    struct rig *rig = *state;
    write_text(rig, "one");
    assert_string_equal(calls, "frd");
    assert_string_equal(logged, "");
    expect_content(rig, "one");
}

static void a_folder_that_can_not_be_synced_is_said_and_tried_again(void **state)
{
    struct rig *rig = *state;
    folder_error = EIO;
    write_text(rig, "one");
    assert_non_null(strstr(logged, rig->path));
    assert_non_null(strstr(logged, "Input/output error: it would be lost"));
    expect_content(rig, "one");
    folder_error = 0;
    write_text(rig, "two");
    assert_string_equal(calls, "frdfrd");
    assert_string_equal(logged, "");
    expect_content(rig, "two");
}

static void a_file_system_that_syncs_no_folders_is_no_failure(void **state)
{
    folder_error = EINVAL;
    write_text(*state, "one");
    assert_string_equal(logged, "");
}

static void a_folder_that_is_not_there_is_said(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rmdir(rig->folder), 0);
    write_text(rig, "one");
    assert_non_null(strstr(logged, "No such file or directory: it would be lost"));
    assert_string_equal(calls, "");
    assert_int_equal(mkdir(rig->folder, 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_folder_is_synced_after_the_rename, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_can_not_be_synced_is_said_and_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_system_that_syncs_no_folders_is_no_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_is_not_there_is_said, setup, teardown),
    };
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
