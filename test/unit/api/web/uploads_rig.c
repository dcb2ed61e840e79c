#include "uploads_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../cmocka_all.h"
#include "net/socket.h"

#define PATIENCE_S 60

struct store_rig rig;
struct http_server *server;
struct uploads *uploads;
int client = -1;
char output[OUTPUT_SIZE];
size_t used;
bool ended;
struct api_caller caller;
const char *inserted;

/* --- the router, as far as it matters --- */

static void on_request(struct http_request *request, void *arg)
{
    (void)arg;
    const char *rest = request->path + strlen("/api/uploads");
    assert_memory_equal(request->path, "/api/uploads", 12);
    uploads_handle(uploads, request, &caller, *rest ? rest + 1 : NULL);
}

static bool in_use(void *arg, const char *name)
{
    assert_ptr_equal(arg, &rig);
    return inserted && strcmp(inserted, name) == 0;
}

int connect_client(void)
{
    struct http_client peer = {.peer = "192.0.2.1"};
    int pair[2], status;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    http_server_add_client(server, socket_stream_new(&rig.loop, pair[0], &status), &peer);
    return pair[1];
}

void start_api(void)
{
    struct http_server_options options = {.who = "test", .handler = on_request, .max_connections = 8};
    uploads = uploads_new(rig.store, in_use, &rig);
    server = http_server_new(&rig.loop, &options);
    client = connect_client();
    caller = (struct api_caller){.user = "op", .role = AUTH_OPERATOR, .peer = "192.0.2.1"};
    inserted = NULL;
    used = 0;
    ended = false;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

void stop_api(void)
{
    bool closed = false;
    http_server_close(server, on_closed, &closed);
    store_rig_until(&rig, &closed);
    uploads_free(uploads); /* what was begun goes on without */
    close(client);
}

int setup(void **state)
{
    (void)state;
    store_rig_begin(&rig);
    start_api();
    return 0;
}

int teardown(void **state)
{
    (void)state;
    stop_api();
    store_rig_end(&rig);
    return 0;
}

/* With other options. */
void restart(void)
{
    stop_api();
    store_rig_close(&rig);
    store_rig_open(&rig);
    start_api();
}

/* --- a client --- */

static void receive(void)
{
    ssize_t n = recv(client, output + used, sizeof output - 1 - used, 0);
    ended = ended || n == 0 || (n < 0 && errno != EAGAIN);
    used += n > 0 ? (size_t)n : 0;
    output[used] = 0;
}

void send_all(const void *data, size_t length)
{
    uint64_t start = uv_hrtime();
    for (size_t at = 0; at < length && !ended;) {
        ssize_t n = send(client, (const char *)data + at, length - at, MSG_NOSIGNAL);
        at += n > 0 ? (size_t)n : 0;
        ended = ended || (n < 0 && errno != EAGAIN);
        uv_run(&rig.loop, UV_RUN_NOWAIT);
        assert_true(uv_hrtime() - start < PATIENCE_S * 1000000000ull);
    }
}

/* Is the answer at `at` whole? Its length, or 0. */
size_t answer_length(const char *at, bool head)
{
    const char *body = strstr(at, "\r\n\r\n"), *field = strstr(at, "Content-Length: ");
    if (!body)
        return 0;
    size_t length = head || !field || field > body ? 0 : strtoul(field + 16, NULL, 10);
    size_t whole = (size_t)(body + 4 - at) + length;
    return strlen(at) >= whole ? whole : 0;
}

/* Waits for so many answers; `output` has them all. */
void wait_answers(unsigned count, bool head)
{
    uint64_t start = uv_hrtime();
    size_t at = 0;
    while (count > 0) {
        receive();
        size_t length = answer_length(output + at, head);
        count -= length > 0;
        at += length;
        if (length == 0) {
            if (ended || uv_hrtime() - start > PATIENCE_S * 1000000000ull)
                fail_msg("no answer, but: %s", output);
            uv_run(&rig.loop, UV_RUN_NOWAIT);
        }
    }
}

unsigned status_of(const char *answer)
{
    return (unsigned)strtoul(answer + strlen("HTTP/1.1 "), NULL, 10);
}

const char *body_of(void)
{
    return strstr(output, "\r\n\r\n") + 4;
}

/* A request with these fields ("X: y\r\n") and the body; its status. The connection is a
 * new one if the last was closed. */
unsigned ask(const char *method, const char *path, const char *fields, const void *body, size_t length)
{
    char head[1200];
    receive();
    if (ended || strstr(output, "Connection: close")) {
        close(client);
        client = connect_client();
        ended = false;
    }
    int n = snprintf(head, sizeof head, "%s /api/uploads%s HTTP/1.1\r\nHost: h\r\n%s\r\n", method, path, fields);
    used = 0;
    output[0] = 0;
    send_all(head, (size_t)n);
    send_all(body, length);
    wait_answers(1, strcmp(method, "HEAD") == 0);
    return status_of(output);
}

unsigned put_piece(const char *path, uint64_t first, uint64_t length, uint64_t size)
{
    char fields[200];
    snprintf(fields, sizeof fields, "Content-Range: bytes %llu-%llu/%llu\r\nContent-Length: %llu\r\n",
             (unsigned long long)first, (unsigned long long)(first + length - 1), (unsigned long long)size,
             (unsigned long long)length);
    return ask("PUT", path, fields, store_rig_data() + first, (size_t)length);
}

unsigned put_whole(const char *path, size_t size)
{
    char fields[64];
    snprintf(fields, sizeof fields, "Content-Length: %zu\r\n", size);
    return ask("PUT", path, fields, store_rig_data(), size);
}

long long offset_field(void)
{
    const char *field = strstr(output, "Upload-Offset: ");
    return field ? strtoll(field + 15, NULL, 10) : -1;
}

long long offset_of(const char *path)
{
    return ask("HEAD", path, "", NULL, 0) == 200 ? offset_field() : -1;
}

void assert_created(const char *name, size_t size)
{
    char expected[400], sha256[STORE_SHA256];
    store_rig_digest(size, sha256);
    snprintf(expected, sizeof expected, "{\"name\":\"%s\",\"size\":%zu,\"sha256\":\"%s\"}", name, size, sha256);
    assert_string_equal(body_of(), expected);
    store_rig_check_image(&rig, name, size);
}
