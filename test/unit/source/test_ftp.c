/*
 * The source keeps the contract by FTP too, against a server in threads that hangs up now and
 * then; what it reads is right all the same.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
static atomic_uint transfers, trouble_every; /* 0: none */

struct session {
    int control, passive;
    uint64_t offset;
};

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

static bool say(struct session *s, const char *text)
{
    return send_all(s->control, text, strlen(text));
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 64) != 0)
        return -1;
    getsockname(fd, (struct sockaddr *)&address, &length);
    *port = ntohs(address.sin_port);
    return fd;
}

static bool enter_passive(struct session *s)
{
    char text[64];
    uint16_t port;
    if (s->passive >= 0)
        close(s->passive);
    s->passive = listen_anywhere(&port);
    snprintf(text, sizeof text, "229 ok (|||%u|)\r\n", port);
    return say(s, text);
}

/* Each so-manieth transfer is cut short, with the control connection or without. */
static bool transfer(struct session *s)
{
    unsigned number = ++transfers, every = trouble_every;
    int data = accept(s->passive, NULL, NULL);
    size_t length = SIZE - s->offset;
    bool trouble = every && number % every == 0, whole;
    close(s->passive);
    s->passive = -1;
    if (data < 0 || !say(s, "150 here\r\n"))
        return false;
    whole = send_all(data, content + s->offset, trouble ? length / 3 : length) && !trouble;
    close(data);
    s->offset = 0;
    return (!trouble || number % 2) && say(s, whole ? "226 done\r\n" : "426 cut\r\n");
}

static bool obey(struct session *s, const char *line)
{
    char text[64];
    if (strncmp(line, "SIZE ", 5) == 0) {
        snprintf(text, sizeof text, "213 %u\r\n", SIZE);
        return say(s, text);
    }
    if (strncmp(line, "REST ", 5) == 0) {
        s->offset = strtoull(line + 5, NULL, 10);
        return say(s, "350 ok\r\n");
    }
    if (strcmp(line, "EPSV") == 0)
        return enter_passive(s);
    if (strcmp(line, "RETR image") == 0)
        return transfer(s);
    if (strncmp(line, "MDTM ", 5) == 0)
        return say(s, "213 20240102030405\r\n");
    if (strncmp(line, "USER ", 5) == 0 || strcmp(line, "TYPE I") == 0)
        return say(s, "200 ok\r\n");
    return say(s, "502 no\r\n");
}

static void *serve(void *arg)
{
    struct session s = {(int)(intptr_t)arg, -1, 0};
    char text[4096], *end;
    size_t used = 0;
    bool on = say(&s, "220-hello\r\n220 ready\r\n");
    while (on) {
        ssize_t n = recv(s.control, text + used, sizeof text - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
        text[used] = '\0';
        while (on && (end = strstr(text, "\r\n"))) {
            *end = '\0';
            on = obey(&s, text);
            used -= (size_t)(end + 2 - text);
            memmove(text, end + 2, used + 1);
        }
    }
    if (s.passive >= 0)
        close(s.passive);
    close(s.control);
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
    uint16_t port;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    listener = listen_anywhere(&port);
    snprintf(url, sizeof url, "ftp://127.0.0.1:%u/image", port);
    return listener < 0 ? -1 : pthread_create(&acceptor, NULL, accept_all, NULL);
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
        .fetch = {.allow_plain = true,
                  .verify = true,
                  .connect_timeout_ms = 5000,
                  .stall_timeout_ms = 5000,
                  .local = FETCH_LOCAL_ALL},
        .connections = fetch_connections(url, 16),
        .io_timeout_ms = 20000,
    };
    struct source *source = http_source_new(context->curl, "test", &options);
    return *(bool *)cached ? cache_source_new(context->cache, source, true) : source;
}

static void check(bool cached)
{
    struct contract contract = {
        .content = content, .size = SIZE, .begin = begin, .end = end, .make = make, .arg = &cached};
    contract_check(&contract);
}

static void ftp_keeps_the_contract(void **state)
{
    (void)state;
    check(false);
}

static void cached_ftp_keeps_the_contract(void **state)
{
    (void)state;
    check(true);
}

static struct {
    int opened, closed, done;
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

/* Reads in all directions at once while each third transfer breaks. */
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
    trouble_every = 3;
    for (unsigned i = 0; i < 40; i++) {
        unsigned at = i % 2 ? i : 39 - i;
        io_init(&ios[i], IO_READ, at * 50000, 20000 + i, on_done);
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
        cmocka_unit_test(ftp_keeps_the_contract),
        cmocka_unit_test(cached_ftp_keeps_the_contract),
        cmocka_unit_test(troubles_that_pass_are_not_seen),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
