/* Sockets and pairs of descriptors as streams, and listening sockets with their files. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "net/socket.h"

struct end {
    uv_loop_t loop;
    struct stream *stream;
    int peer, to; /* the other end, and what is written to at it: another one if they are pipes */
    unsigned char got[256];
    size_t length;
    int ends, end_status, drains;
    bool closed, inside; /* inside: a call on the stream */
};

static void on_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    assert_true(end->length + length <= sizeof end->got);
    memcpy(end->got + end->length, data, length);
    end->length += length;
}

static void on_end(struct stream *stream, int status)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    end->ends++;
    end->end_status = status;
}

static void on_drain(struct stream *stream)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    assert_int_equal(stream->unsent, 0);
    end->drains++;
}

static void on_closed(struct stream *stream)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    assert_false(end->closed);
    end->closed = true;
    stream_free(stream);
}

static void adopt(struct end *end, struct stream *stream)
{
    end->stream = stream;
    stream->owner = end;
    stream->on_data = on_data;
    stream->on_end = on_end;
    stream->on_drain = on_drain;
    stream->on_closed = on_closed;
}

/* What the stream is made on. */
enum kind { SOCKET, PIPES, SOCKET_TWICE };
static const enum kind on_socket = SOCKET, on_pipes = PIPES, on_socket_twice = SOCKET_TWICE;

static void pipe_of(int fds[2])
{
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
}

static void begin_on_pipes(struct end *end)
{
    int in[2], out[2], status;
    pipe_of(in);
    pipe_of(out);
    adopt(end, socket_stream_pair(&end->loop, in[0], out[1], &status));
    assert_true(fcntl(in[1], F_GETPIPE_SZ) > 262176);
    end->peer = out[0];
    end->to = in[1];
}

static void begin(struct end *end, const void *state)
{
    enum kind kind = *(const enum kind *)state;
    int pair[2], status;
    memset(end, 0, sizeof *end);
    test_loop_begin(&end->loop);
    if (kind == PIPES) {
        begin_on_pipes(end);
    } else {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        adopt(end, kind == SOCKET ? socket_stream_new(&end->loop, pair[0], &status)
                                  : socket_stream_pair(&end->loop, pair[0], dup(pair[0]), &status));
        end->peer = pair[1];
        end->to = dup(pair[1]);
    }
    fcntl(end->peer, F_SETFL, O_NONBLOCK);
}

/* What the peer does. */
static void say(struct end *end, const char *text)
{
    assert_int_equal(write(end->to, text, strlen(text)), strlen(text));
}

static void end_saying(struct end *end)
{
    if (end->to < 0)
        return;
    shutdown(end->to, SHUT_WR);
    close(end->to);
    end->to = -1;
}

static void go(struct end *end)
{
    if (end->to >= 0)
        close(end->to);
    if (end->peer >= 0)
        close(end->peer);
    end->to = end->peer = -1;
}

static void turns(struct end *end, int count)
{
    test_loop_turns(&end->loop, count);
}

static void finish(struct end *end)
{
    end->inside = true;
    stream_close(end->stream);
    stream_close(end->stream);
    end->inside = false;
    while (!end->closed)
        uv_run(&end->loop, UV_RUN_ONCE);
    go(end);
    test_loop_end(&end->loop);
}

static unsigned char pattern(uint64_t at)
{
    return (unsigned char)(at * 7 + at / 1000);
}

/* Slices of odd lengths, all of the pattern from `at` on. */
static void write_pattern(struct end *end, uint64_t at, uint32_t length, uint32_t piece)
{
    struct slices data;
    slices_init(&data);
    slices_alloc(&data, length, piece);
    for (uint32_t i = 0, k = 0; i < data.count; i++)
        for (uint32_t j = 0; j < data.v[i].length; j++, k++)
            slice_data(&data.v[i])[j] = pattern(at + k);
    end->inside = true;
    stream_write(end->stream, &data);
    end->inside = false;
    assert_int_equal(data.count, 0);
}

static void check_pattern(struct end *end, uint64_t total)
{
    static unsigned char buffer[70000];
    for (uint64_t at = 0; at < total;) {
        ssize_t n = read(end->peer, buffer, sizeof buffer);
        for (ssize_t i = 0; i < n; i++)
            if (buffer[i] != pattern(at + (uint64_t)i))
                fail_msg("wrong byte at %llu", (unsigned long long)at + (unsigned long long)i);
        at += n > 0 ? (uint64_t)n : 0;
        uv_run(&end->loop, UV_RUN_NOWAIT);
    }
}

static void a_small_write_leaves_at_once(void **state)
{
    struct end end;
    unsigned char byte[10];
    begin(&end, *state);
    write_pattern(&end, 0, 10, 3);
    assert_int_equal(end.stream->unsent, 0);
    assert_int_equal(read(end.peer, byte, sizeof byte), 10);
    turns(&end, 3);
    assert_int_equal(end.drains, 0);
    finish(&end);
}

static void more_than_the_socket_takes_keeps_its_order(void **state)
{
    struct end end;
    begin(&end, *state);
    write_pattern(&end, 0, 3000000, 9999); /* more slices than a call takes */
    assert_true(end.stream->unsent > 0);
    write_pattern(&end, 3000000, 1000000, 250000);
    write_pattern(&end, 4000000, 1, 1);
    turns(&end, 5);
    assert_int_equal(end.drains, 0);
    check_pattern(&end, 4000001);
    turns(&end, 5);
    assert_int_equal(end.stream->unsent, 0);
    assert_int_equal(end.drains, 1);
    finish(&end);
}

static void closing_drops_what_is_unsent(void **state)
{
    struct end end;
    begin(&end, *state);
    write_pattern(&end, 0, 3000000, 100000);
    write_pattern(&end, 3000000, 3000000, 100000);
    finish(&end);
    assert_int_equal(end.drains, 0);
    assert_int_equal(end.ends, 0);
}

static void reading_goes_on_and_off_at_once(void **state)
{
    struct end end;
    begin(&end, *state);
    say(&end, "one");
    turns(&end, 3);
    assert_int_equal(end.length, 0);
    stream_read(end.stream, true);
    turns(&end, 3);
    assert_int_equal(end.length, 3);
    stream_read(end.stream, false);
    say(&end, "two");
    turns(&end, 3);
    assert_int_equal(end.length, 3);
    stream_read(end.stream, true);
    go(&end);
    turns(&end, 3);
    assert_memory_equal(end.got, "onetwo", 6);
    assert_int_equal(end.ends, 1);
    assert_int_equal(end.end_status, 0);
    finish(&end);
}

static void a_failed_write_is_told_later_and_once(void **state)
{
    struct end end;
    begin(&end, *state);
    go(&end);
    write_pattern(&end, 0, 10, 10);
    write_pattern(&end, 0, 10, 10);
    assert_int_equal(end.ends, 0);
    turns(&end, 3);
    assert_int_equal(end.ends, 1);
    assert_int_equal(end.end_status, -EPIPE);
    stream_read(end.stream, true);
    turns(&end, 3);
    assert_int_equal(end.ends, 1);
    finish(&end);
}

static void a_write_that_fails_after_the_peers_end_is_told(void **state)
{
    struct end end;
    begin(&end, *state);
    stream_read(end.stream, true);
    end_saying(&end);
    turns(&end, 3);
    assert_int_equal(end.ends, 1);
    assert_int_equal(end.end_status, 0);
    write_pattern(&end, 0, 3000000, 100000); /* more than fits */
    turns(&end, 3);
    assert_int_equal(end.ends, 1);
    go(&end);
    turns(&end, 3);
    assert_int_equal(end.ends, 2);
    assert_int_equal(end.end_status, -EPIPE);
    write_pattern(&end, 0, 10, 10);
    stream_read(end.stream, true);
    turns(&end, 3);
    assert_int_equal(end.ends, 2);
    finish(&end);
}

static void the_peer_going_fails_what_is_unsent(void **state)
{
    struct end end;
    begin(&end, *state);
    write_pattern(&end, 0, 3000000, 100000);
    write_pattern(&end, 3000000, 3000000, 100000);
    turns(&end, 3);
    go(&end);
    turns(&end, 5);
    assert_int_equal(end.ends, 1);
    assert_true(end.end_status < 0);
    assert_int_equal(end.stream->unsent, 0);
    finish(&end);
}

static void a_stream_that_is_cut_ends_later_and_says_nothing(void **state)
{
    struct end end;
    unsigned char byte;
    begin(&end, *state);
    stream_read(end.stream, true);
    say(&end, "x");
    end.inside = true;
    socket_cut(end.stream);
    socket_cut(end.stream);
    end.inside = false;
    write_pattern(&end, 0, 10, 10);
    turns(&end, 3);
    assert_int_equal(end.length, 0);
    assert_int_equal(end.ends, 1);
    assert_int_equal(end.end_status, -ECONNRESET);
    assert_int_equal(read(end.peer, &byte, 1), -1);
    stream_close(end.stream);
    socket_cut(end.stream); /* too late */
    finish(&end);
    assert_int_equal(end.ends, 1);
}

/* --- pairs --- */

static void assert_refused(int in, int out)
{
    uv_loop_t loop;
    int status = 0;
    test_loop_begin(&loop);
    assert_null(socket_stream_pair(&loop, in, out, &status));
    assert_int_equal(status, -EINVAL);
    assert_int_equal(fcntl(in, F_GETFD), -1); /* closed */
    assert_int_equal(fcntl(out, F_GETFD), -1);
    test_loop_end(&loop);
}

static void what_is_no_pair_is_refused(void **state)
{
    (void)state;
    int a[2], b[2];
    pipe_of(a);
    pipe_of(b);
    assert_refused(a[1], b[0]); /* the wrong ways round */
    assert_refused(open("/dev/null", O_RDONLY), b[1]);
    assert_refused(a[0], socket(AF_UNIX, SOCK_DGRAM, 0));
}

static void the_peer_is_known(void **state)
{
    (void)state;
    struct end end;
    struct socket_peer peer;
    begin(&end, &on_socket);
    assert_int_equal(socket_peer(end.stream, &peer), 0);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, geteuid());
    assert_int_equal(peer.gid, getegid());
    finish(&end);
}

/* --- listening --- */

static char folder[64], path[100];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "test_socket.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/s", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void on_accept(struct listener *listener, struct stream *stream)
{
    adopt(listener_owner(listener), stream);
}

static struct listener *listen_at(struct end *end, const char *at, unsigned mode, int *status, char error[200])
{
    struct listener_options options = {.path = at, .mode = mode, .backlog = 4};
    error[0] = 0;
    return listener_new(&end->loop, &options, on_accept, end, status, error, 200);
}

static int bound_socket(int type, bool listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (listening)
        assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static int connected_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void a_listener_has_its_mode_and_takes_its_file_along(void **state)
{
    (void)state;
    struct end end = {.closed = false};
    struct stat st;
    char error[200];
    int status;
    mode_t old = umask(0);
    test_loop_begin(&end.loop);
    struct listener *listener = listen_at(&end, path, 0640, &status, error);
    assert_non_null(listener);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(umask(old), 0);
    end.peer = connected_socket();
    end.to = -1;
    while (!end.stream)
        uv_run(&end.loop, UV_RUN_ONCE);
    stream_read(end.stream, true);
    assert_int_equal(send(end.peer, "hello", 5, 0), 5);
    turns(&end, 3);
    assert_memory_equal(end.got, "hello", 5);
    listener_close(listener);
    assert_int_equal(stat(path, &st), -1);
    finish(&end);
}

/* Tries to listen where something is; gives the status. */
static int status_at(const char *at, char error[200])
{
    struct end end = {.closed = false};
    int status;
    test_loop_begin(&end.loop);
    struct listener *listener = listen_at(&end, at, 0600, &status, error);
    if (listener)
        listener_close(listener);
    test_loop_end(&end.loop);
    return status;
}

static void a_stale_socket_is_replaced(void **state)
{
    (void)state;
    char error[200];
    close(bound_socket(SOCK_STREAM, true));
    assert_int_equal(status_at(path, error), 0);
    assert_int_equal(access(path, F_OK), -1);
}

static void what_is_alive_or_no_socket_stays(void **state)
{
    (void)state;
    char error[200];
    int fd = bound_socket(SOCK_STREAM, true);
    assert_int_equal(status_at(path, error), -EADDRINUSE);
    assert_non_null(strstr(error, "in use"));
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    unlink(path);
    fd = bound_socket(SOCK_DGRAM, false); /* alive, of another type */
    assert_int_equal(status_at(path, error), -EADDRINUSE);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    unlink(path);
    FILE *file = fopen(path, "w");
    fclose(file);
    assert_int_equal(status_at(path, error), -EEXIST);
    assert_non_null(strstr(error, "not a socket"));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(status_at(path, error), -EEXIST);
    unlink(path);
}

static void bad_paths_and_groups_are_explained(void **state)
{
    (void)state;
    char error[200], at[200];
    memset(at, 'x', 108);
    at[108] = 0;
    assert_int_equal(status_at(at, error), -ENAMETOOLONG);
    assert_non_null(strstr(error, "107 characters"));
    snprintf(at, sizeof at, "%s/none/s", folder);
    assert_int_equal(status_at(at, error), -ENOENT);
    assert_non_null(strstr(error, "make the folder"));
    struct end end = {.closed = false};
    struct listener_options options = {.path = path, .mode = 0600, .group = "no such group", .backlog = 1};
    int status;
    test_loop_begin(&end.loop);
    assert_null(listener_new(&end.loop, &options, on_accept, NULL, &status, error, sizeof error));
    assert_int_equal(status, -EINVAL);
    assert_non_null(strstr(error, "no such group"));
    assert_int_equal(access(path, F_OK), -1);
    test_loop_end(&end.loop);
}

/* Somebody else's socket under the same name is not removed at the end. */
static void only_our_file_is_removed(void **state)
{
    (void)state;
    struct end end = {.closed = false};
    char error[200], kept[120];
    int status;
    test_loop_begin(&end.loop);
    struct listener *listener = listen_at(&end, path, 0600, &status, error);
    assert_non_null(listener);
    snprintf(kept, sizeof kept, "%s.old", path);
    assert_int_equal(rename(path, kept), 0); /* keeps the inode in use */
    int fd = bound_socket(SOCK_STREAM, true);
    listener_close(listener);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    unlink(path);
    unlink(kept);
    test_loop_end(&end.loop);
}

/* What a stream promises, whatever it is made on. */
#define STREAM_TEST(test)                                                                                              \
    {#test " (socket)", test, NULL, NULL, (void *)(uintptr_t)&on_socket},                                              \
        {#test " (pipes)", test, NULL, NULL, (void *)(uintptr_t)&on_pipes},                                            \
        {#test " (socket twice)", test, NULL, NULL, (void *)(uintptr_t)&on_socket_twice}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(a_small_write_leaves_at_once),
        STREAM_TEST(more_than_the_socket_takes_keeps_its_order),
        STREAM_TEST(closing_drops_what_is_unsent),
        STREAM_TEST(reading_goes_on_and_off_at_once),
        STREAM_TEST(a_failed_write_is_told_later_and_once),
        STREAM_TEST(a_write_that_fails_after_the_peers_end_is_told),
        STREAM_TEST(the_peer_going_fails_what_is_unsent),
        STREAM_TEST(a_stream_that_is_cut_ends_later_and_says_nothing),
        cmocka_unit_test(what_is_no_pair_is_refused),
        cmocka_unit_test(the_peer_is_known),
        cmocka_unit_test(a_listener_has_its_mode_and_takes_its_file_along),
        cmocka_unit_test(a_stale_socket_is_replaced),
        cmocka_unit_test(what_is_alive_or_no_socket_stays),
        cmocka_unit_test(bad_paths_and_groups_are_explained),
        cmocka_unit_test(only_our_file_is_removed),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
