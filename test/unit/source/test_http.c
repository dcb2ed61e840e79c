/*
 * The HTTP source keeps the contract, against a server in a thread that answers
 * ranges, and now and then closes the connection or says 503.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "block/cache.h"
#include "source/http.h"

#define SIZE (2u * 1000 * 1000 + 11)

static unsigned char content[SIZE];
static char url[64];
static int listener;
static atomic_uint requests, trouble_every; /* 0: none */

static bool send_all(int fd, const void *data, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(fd, (const char *)data + sent, length - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

static bool answer(int fd, const char *request)
{
    uint64_t first, last;
    char head[256];
    unsigned number = ++requests, every = trouble_every;
    const char *range = strcasestr(request, "\r\nRange: bytes=");
    if (!range || sscanf(range + 15, "%" SCNu64 "-%" SCNu64, &first, &last) != 2 || last >= SIZE || first > last)
        return false;
    if (every && number % every == 0)
        return number % 2 ? false : send_all(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 41);
    snprintf(head, sizeof head,
             "HTTP/1.1 206 Partial Content\r\nContent-Length: %" PRIu64 "\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64
             "/%u\r\nETag: \"one\"\r\n\r\n",
             last - first + 1, first, last, SIZE);
    return send_all(fd, head, strlen(head)) && send_all(fd, content + first, last - first + 1);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char request[4096];
    size_t used = 0;
    for (;;) {
        ssize_t n = recv(fd, request + used, sizeof request - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
        request[used] = '\0';
        if (!strstr(request, "\r\n\r\n"))
            continue;
        if (!answer(fd, request))
            break;
        used = 0;
    }
    close(fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;
        if (fd < 0)
            return NULL;
        pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
        pthread_detach(thread);
    }
}

static pthread_t acceptor;

static int start_server(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 64) != 0)
        return -1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/image", ntohs(address.sin_port));
    return pthread_create(&acceptor, NULL, accept_all, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    shutdown(listener, SHUT_RDWR);
    close(listener);
    return pthread_join(acceptor, NULL);
}

struct context {
    struct curl_loop *curl;
    struct cache *cache;
};

static void *begin(uv_loop_t *loop, void *arg)
{
    (void)arg;
    struct context *context = malloc(sizeof *context);
    context->curl = curl_loop_new(loop);
    context->cache = cache_new(4 << 20, 1 << 20);
    return context;
}

static void on_curl_closed(void *arg)
{
    free(arg);
}

static void end(void *arg, void *unused)
{
    (void)unused;
    struct context *context = arg;
    cache_free(context->cache);
    curl_loop_close(context->curl, on_curl_closed, context);
}

static struct source *make(uv_loop_t *loop, void *arg, void *cached)
{
    (void)loop;
    struct context *context = arg;
    struct http_source_options options = {
        .url = url,
        .fetch = {.allow_plain = true, .redirects = 5, .verify = true, .connect_timeout_ms = 5000, .stall_timeout_ms = 5000, .local = ADDRESS_LOCAL_ALL},
        .connections = 6,
        .io_timeout_ms = 20000,
    };
    struct source *source = http_source_new(context->curl, "test", &options);
    return *(bool *)cached ? cache_source_new(context->cache, source, true) : source;
}

static void check(bool cached)
{
    struct contract contract = {.content = content, .size = SIZE, .begin = begin, .end = end, .make = make, .arg = &cached};
    contract_check(&contract);
}

static void http_keeps_the_contract(void **state)
{
    (void)state;
    check(false);
}

static void cached_http_keeps_the_contract(void **state)
{
    (void)state;
    check(true);
}

static struct {
    int opened, closed, done, status;
} seen;

static void on_opened(struct source *source, int status)
{
    (void)source;
    assert_int_equal(status, 0);
    seen.opened++;
}

static void on_closed(struct source *source)
{
    (void)source;
    seen.closed++;
}

static void on_done(struct io *io)
{
    unsigned char *copy = malloc(io->length);
    assert_int_equal(io->status, 0);
    slices_copy_out(&io->data, 0, copy, io->length);
    assert_memory_equal(copy, content + io->offset, io->length);
    free(copy);
    slices_clear(&io->data);
    seen.done++;
}

/* Every fifth answer is a closed connection or a 503: all reads are right all the same. */
static void troubles_that_pass_are_not_seen(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct io ios[40];
    bool cached = false;
    test_loop_begin(&loop);
    struct context *context = begin(&loop, NULL);
    struct source *source = make(&loop, context, &cached);
    source->opened = on_opened;
    source->closed = on_closed;
    source_open(source);
    while (!seen.opened)
        uv_run(&loop, UV_RUN_ONCE);
    trouble_every = 5;
    for (unsigned i = 0; i < 40; i++) {
        io_init(&ios[i], IO_READ, i * 50000, 20000 + i, on_done);
        source_submit(source, &ios[i]);
    }
    while (seen.done < 40)
        uv_run(&loop, UV_RUN_ONCE);
    trouble_every = 0;
    assert_true(source->stats.retries > 0);
    source_close(source);
    while (!seen.closed)
        uv_run(&loop, UV_RUN_ONCE);
    source_free(source);
    end(context, NULL);
    test_loop_end(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_keeps_the_contract),
        cmocka_unit_test(cached_http_keeps_the_contract),
        cmocka_unit_test(troubles_that_pass_are_not_seen),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
