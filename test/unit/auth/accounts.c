#include "accounts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "auth/password.h"
#include "base/defer.h"

void place_make(struct place *place)
{
    memset(place, 0, sizeof *place);
    strcpy(place->folder, "/tmp/np-auth-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof place->path, "%s/users", place->folder);
    place->now = 1000000;
    uv_loop_init(&place->loop);
    defer_init(&place->loop);
}

void place_remove(struct place *place)
{
    char command[128];
    uv_run(&place->loop, UV_RUN_DEFAULT);
    defer_close(&place->loop);
    uv_run(&place->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&place->loop), 0);
    snprintf(command, sizeof command, "rm -rf %s", place->folder);
    assert_int_equal(system(command), 0);
}

uint64_t place_now(void *arg)
{
    return ((struct place *)arg)->now;
}

void place_write(const struct place *place, const char *text, unsigned mode)
{
    int fd = open(place->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

char *place_read(const struct place *place)
{
    char *text = calloc(1, USERS_FILE_MAX + 1);
    int fd = open(place->path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, text, USERS_FILE_MAX) >= 0);
    close(fd);
    return text;
}

const char *account(const char *name, const char *password, const char *role, const char *state)
{
    static char lines[8][512];
    static unsigned next;
    char hash[PASSWORD_HASH_MAX], *line = lines[next++ % 8];
    assert_true(password_hash(password, CHEAP, hash));
    snprintf(line, sizeof lines[0], "%s:%s:%s:%s\n", name, hash, role, state);
    return line;
}

static void on_wake(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void on_wake_closed(uv_handle_t *handle)
{
    free(handle);
}

static void wait_until(struct place *place, bool (*condition)(void *arg), void *arg, unsigned ms, bool must)
{
    bool late = false;
    uv_timer_t *timer = malloc(sizeof *timer);
    uv_timer_init(&place->loop, timer);
    timer->data = &late;
    uv_update_time(&place->loop);
    /* It repeats: run before the poll, a timer does not end it. */
    uv_timer_start(timer, on_wake, ms, 10);
    while (!late && !(condition && condition(arg)))
        uv_run(&place->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)timer, on_wake_closed);
    uv_run(&place->loop, UV_RUN_NOWAIT);
    if (must && late)
        fail_msg("timed out");
}

void place_run_until(struct place *place, bool (*condition)(void *arg), void *arg)
{
    wait_until(place, condition, arg, 20000, true);
}

void place_run_for(struct place *place, unsigned ms)
{
    wait_until(place, NULL, NULL, ms, false);
}

void mark_closed(void *arg)
{
    *(bool *)arg = true;
}

bool is_true(void *arg)
{
    return *(bool *)arg;
}

static FILE *captured;
static int real_stderr = -1;

void log_capture(void)
{
    captured = tmpfile();
    fflush(stderr);
    real_stderr = dup(STDERR_FILENO);
    dup2(fileno(captured), STDERR_FILENO);
}

char *log_captured(void)
{
    fflush(stderr);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    long size = ftell(captured);
    fseek(captured, 0, SEEK_END);
    size = ftell(captured);
    char *text = calloc(1, (size_t)size + 1);
    rewind(captured);
    assert_int_equal(fread(text, 1, (size_t)size, captured), size);
    fclose(captured);
    return text;
}
