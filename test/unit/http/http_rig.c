#include "http_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/defer.h"
#include "net/socket.h"

#define QUIET 8

const char http_rig_file[] = "0123456789abcdefghijklmnopqrstuvwxyz";

static struct http_rig *current;

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* --- what the handler does --- */

static void on_gone(struct http_request *request)
{
    must(current->in_call == 0);
    if (current->kept == request)
        current->kept = NULL;
    current->gone++;
}

static void on_echo(struct http_request *request, const uint8_t *data, size_t length)
{
    must(current->in_call == 0 && data[length] == 0);
    http_reply(request, 200, "application/octet-stream", data, length);
}

/* Pauses after every piece; goes on from the loop. */
static void on_count(struct http_request *request, const uint8_t *data, size_t length)
{
    uint64_t *sum = request->owner;
    (void)data;
    *sum += length;
    current->counted = *sum;
    http_receive_more(request, false);
    http_receive_more(request, *sum % 3 != 0);
    if (*sum % 3 == 0)
        current->kept = request;
}

static void on_count_gone(struct http_request *request)
{
    free(request->owner);
    on_gone(request);
}

static void on_count_end(struct http_request *request)
{
    char text[40];
    must(current->in_call == 0);
    int length = snprintf(text, sizeof text, "%llu bytes", (unsigned long long)*(uint64_t *)request->owner);
    free(request->owner);
    http_reply(request, 200, "text/plain", text, (size_t)length);
}

static void write_text(struct http_request *request, const char *text)
{
    struct slices data;
    slices_init(&data);
    slices_add_copy(&data, text, (uint32_t)strlen(text));
    http_write(request, &data);
}

static void write_big(struct http_request *request)
{
    uint32_t *left = request->owner;
    while (*left > 0 && http_unsent(request) == 0) {
        struct slices data;
        uint32_t part = *left < 100000 ? *left : 100000;
        slices_init(&data);
        slices_alloc(&data, part, part);
        memset(slice_data(&data.v[0]), 'b', part);
        *left -= part;
        http_write(request, &data);
    }
    if (*left == 0) {
        free(left);
        http_end(request);
    }
}

static void on_big_drain(struct http_request *request)
{
    must(http_unsent(request) == 0);
    write_big(request);
}

static void tell_info(struct http_request *request)
{
    char text[3000];
    int length = snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%lld|%s", request->method, request->path, request->query,
                          request->host, request->peer, (long long)request->body_length,
                          http_field(request, "X-Test") ? http_field(request, "x-test") : "-");
    http_reply(request, 200, "text/plain", text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

static void on_switched_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct slices copy;
    slices_init(&copy);
    slices_add_copy(&copy, data, (uint32_t)length);
    stream_write(stream, &copy);
}

static void on_switched_end(struct stream *stream, int status)
{
    (void)status;
    stream_close(stream);
}

static void on_switched_closed(struct stream *stream)
{
    stream_free(stream);
    current->switched = NULL;
}

static void switch_protocol(struct http_request *request)
{
    struct slices early;
    slices_init(&early);
    struct stream *stream = http_upgrade(request, "echo", &early);
    if (!stream)
        return;
    current->switched = stream;
    stream->on_data = on_switched_data;
    stream->on_end = on_switched_end;
    stream->on_drain = NULL;
    stream->on_closed = on_switched_closed;
    stream_write(stream, &early);
    stream_read(stream, true);
}

static void handle_answers(struct http_request *request)
{
    const char *path = request->path;
    if (strcmp(path, "/hello") == 0 || strcmp(path, "/ignore") == 0) {
        http_reply(request, 200, "text/plain", "hello", 5);
    } else if (strcmp(path, "/later") == 0) {
        current->kept = request;
    } else if (strcmp(path, "/chunks") == 0) {
        http_begin(request, 200, -1);
        write_text(request, "one");
        write_text(request, "");
        write_text(request, "twotwo");
        http_end(request);
    } else if (strcmp(path, "/short") == 0) {
        http_begin(request, 200, 10);
        write_text(request, "123");
        http_end(request);
    } else if (strcmp(path, "/bad") == 0) {
        http_add_field(request, "Location", "/x\r\nSet-Cookie: evil=1");
        http_reply(request, 302, NULL, NULL, 0);
    } else if (strcmp(path, "/file") == 0) {
        http_content_serve(request, &current->content);
    } else if (strcmp(path, "/switch") == 0) {
        switch_protocol(request);
    } else {
        http_reply(request, 404, NULL, NULL, 0);
    }
}

static void on_request(struct http_request *request, void *arg)
{
    struct http_rig *rig = arg;
    rig->handled++;
    rig->in_call++;
    request->on_gone = on_gone;
    if (strcmp(request->path, "/echo") == 0) {
        http_receive_all(request, 1000, on_echo);
    } else if (strcmp(request->path, "/count") == 0) {
        request->owner = calloc(1, sizeof(uint64_t));
        request->on_gone = on_count_gone;
        http_receive(request, 1 << 30, on_count, on_count_end);
    } else if (strcmp(request->path, "/big") == 0) {
        uint32_t *left = malloc(sizeof *left);
        *left = HTTP_RIG_BIG;
        request->owner = left;
        request->on_drain = on_big_drain;
        request->on_gone = on_count_gone;
        http_begin(request, 200, HTTP_RIG_BIG);
        write_big(request);
    } else if (strcmp(request->path, "/info") == 0 || strncmp(request->path, "/info/", 6) == 0) {
        tell_info(request);
    } else {
        handle_answers(request);
    }
    rig->in_call--;
}

/* --- the rig --- */

static void add_client(struct http_rig *rig, struct stream *stream)
{
    struct http_client client = {.peer = "test"};
    rig->ended = false;
    http_server_add_client(rig->server, stream, &client);
}

void http_rig_connect(struct http_rig *rig)
{
    int pair[2], status;
    if (rig->client >= 0)
        close(rig->client);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    rig->client = pair[1];
    add_client(rig, socket_stream_new(rig->loop, pair[0], &status));
}

static void begin_server(struct http_rig *rig, uv_loop_t *loop, const struct http_server_options *options)
{
    struct http_server_options o =
        options ? *options : (struct http_server_options){.max_connections = 4, .head_timeout_ms = 60000};
    current = rig;
    rig->client = -1;
    rig->loop = loop;
    http_content_init(&rig->content, "text/plain", "no-cache", http_rig_file, strlen(http_rig_file));
    o.who = "test";
    o.handler = on_request;
    o.arg = rig;
    rig->server = http_server_new(loop, &o);
}

void http_rig_begin(struct http_rig *rig, const struct http_server_options *options)
{
    memset(rig, 0, sizeof *rig);
    must(uv_loop_init(&rig->own_loop) == 0);
    defer_init(&rig->own_loop);
    begin_server(rig, &rig->own_loop, options);
    http_rig_connect(rig);
}

void http_rig_begin_in_memory(struct http_rig *rig, uv_loop_t *loop)
{
    memset(rig, 0, sizeof *rig);
    begin_server(rig, loop, NULL);
    add_client(rig, memory_stream_new(loop, &rig->peer));
}

static void on_server_closed(void *arg)
{
    ((struct http_rig *)arg)->server_closed = true;
}

void http_rig_close_server(struct http_rig *rig)
{
    rig->server_closing = true;
    http_server_close(rig->server, on_server_closed, rig);
}

static bool is_in_memory(const struct http_rig *rig)
{
    return rig->loop != &rig->own_loop;
}

static void hang_up(struct http_rig *rig)
{
    if (is_in_memory(rig))
        memory_peer_hang_up(&rig->peer);
    else if (rig->client >= 0)
        close(rig->client);
}

static void close_own_loop(struct http_rig *rig)
{
    uv_run(rig->loop, UV_RUN_DEFAULT);
    defer_close(rig->loop);
    uv_run(rig->loop, UV_RUN_DEFAULT);
    must(uv_loop_close(rig->loop) == 0);
}

void http_rig_end(struct http_rig *rig)
{
    hang_up(rig);
    if (rig->switched)
        stream_close(rig->switched);
    if (!rig->server_closing)
        http_rig_close_server(rig);
    while (!rig->server_closed)
        uv_run(rig->loop, UV_RUN_ONCE);
    http_content_clear(&rig->content);
    if (is_in_memory(rig))
        memory_peer_clear(&rig->peer);
    else
        close_own_loop(rig);
}

void http_rig_normalise(char *output, size_t *length)
{
    static const char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char *at;
    output[*length] = 0;
    while ((at = memmem(output, *length, proceed, sizeof proceed - 1)) != NULL) {
        memmove(at, at + sizeof proceed - 1, *length - (size_t)(at - output) - (sizeof proceed - 1) + 1);
        *length -= sizeof proceed - 1;
    }
    for (char *p = output; (p = memmem(p, *length - (size_t)(p - output), "\r\nDate: ", 8)) != NULL; p += 8)
        for (char *q = p + 8; *q && *q != '\r'; q++)
            *q = '.';
}

static size_t receive(struct http_rig *rig, void *to, size_t size)
{
    if (is_in_memory(rig)) {
        size_t length = memory_peer_receive(&rig->peer, to, size);
        rig->ended = rig->ended || (length == 0 && rig->peer.stream_ended);
        return length;
    }
    ssize_t n = recv(rig->client, to, size, 0);
    rig->ended = rig->ended || n == 0;
    return n > 0 ? (size_t)n : 0;
}

/* False: the server has closed the connection. `taken` is how much of it was sent. */
static bool send_part(struct http_rig *rig, const void *data, size_t length, size_t *taken)
{
    *taken = length;
    if (is_in_memory(rig))
        return memory_peer_send(&rig->peer, data, length);
    ssize_t n = send(rig->client, data, length, MSG_NOSIGNAL);
    *taken = n > 0 ? (size_t)n : 0;
    return n >= 0 || errno == EAGAIN;
}

/* Until so many turns of the loop have brought nothing. */
static size_t rig_collect(struct http_rig *rig, int turns, char *output, size_t size)
{
    size_t used = 0;
    for (int quiet = 0; quiet < turns && used + 1 < size;) {
        uv_run(rig->loop, UV_RUN_NOWAIT);
        if (rig->kept && !rig->kept->on_drain && strcmp(rig->kept->path, "/count") == 0) {
            struct http_request *request = rig->kept;
            rig->kept = NULL;
            http_receive_more(request, true);
            quiet = 0;
        }
        size_t n = receive(rig, output + used, size - 1 - used);
        quiet = n > 0 ? 0 : quiet + 1;
        used += n;
    }
    output[used] = 0;
    return used;
}

size_t http_rig_collect(struct http_rig *rig, char *output, size_t size)
{
    return rig_collect(rig, is_in_memory(rig) ? 1 : QUIET, output, size);
}

size_t http_rig_talk(struct http_rig *rig, const void *input, size_t length, size_t split, char *output, size_t size)
{
    size_t used = 0;
    for (size_t at = 0; at < length && used + 1 < size;) {
        size_t part = split && split < length - at ? split : length - at, taken;
        if (!send_part(rig, (const char *)input + at, part, &taken))
            break;
        at += taken;
        used += rig_collect(rig, 1, output + used, size - used);
    }
    used += http_rig_collect(rig, output + used, size - used);
    http_rig_normalise(output, &used);
    return used;
}
