/*
 * A user and a password that come through a pipe: told once, both as they came and nothing behind them, or refused. The first
 * byte: where the rest is cut in two.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/bmcweb/credentials.h"
#include "base/defer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TURNS 4 /* of the loop, that one piece takes at most */

struct told {
    unsigned times;
    int status;
    char text[CREDENTIALS_MAX]; /* user, NUL, password, NUL */
    size_t length;
};

static uv_loop_t loop;

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void on_done(void *arg, int status, const char *user, const char *password)
{
    struct told *told = arg;
    size_t first = strlen(user) + 1, second = strlen(password) + 1;
    told->times++;
    told->status = status;
    must(first + second <= sizeof told->text);
    memcpy(told->text, user, first);
    memcpy(told->text + first, password, second);
    told->length = first + second;
}

static void give(int fd, const uint8_t *data, size_t length)
{
    must(write(fd, data, length) == (ssize_t)length);
    for (int i = 0; i < TURNS; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    struct told told = {0};
    int fds[2], status;
    if (size == 0 || size > 1 + CREDENTIALS_MAX + 100)
        return 0;
    if (!started) {
        uv_loop_init(&loop);
        defer_init(&loop);
        started = true;
    }
    must(pipe2(fds, O_CLOEXEC) == 0);
    must(credentials_read(&loop, fds[0], on_done, &told, &status) && status == 0);
    size_t length = size - 1, cut = data[0] < length ? data[0] : length;
    give(fds[1], data + 1, cut);
    give(fds[1], data + 1 + cut, length - cut);
    must(told.times <= 1);
    close(fds[1]);
    close(fds[0]);
    while (told.times == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    for (int i = 0; i < TURNS; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    must(told.times == 1);
    must(told.status != 0 || (told.length <= length && memcmp(told.text, data + 1, told.length) == 0));
    return 0;
}
