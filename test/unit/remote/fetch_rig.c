#include "fetch_rig.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "block/cache.h"
#include "remote/ftp/ftp.h"
#include "remote/http/http.h"

unsigned char rig_content[RIG_SIZE];
atomic_uint rig_trouble_every;

static char url[64];
static int listener;
static pthread_t acceptor;
static void *(*serve_one)(void *);

/* --- the server --- */

bool rig_send(int fd, const void *data, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(fd, (const char *)data + sent, length - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

int rig_listen(uint16_t *port)
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

static void *accept_all(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;
        if (fd < 0)
            return NULL;
        pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd);
        pthread_detach(thread);
    }
}

int rig_start(const char *scheme, void *(*serve)(void *fd))
{
    uint16_t port;
    for (unsigned i = 0; i < RIG_SIZE; i++)
        rig_content[i] = (unsigned char)random();
    serve_one = serve;
    listener = rig_listen(&port);
    if (listener < 0)
        return -1;
    snprintf(url, sizeof url, "%s://127.0.0.1:%u/image", scheme, port);
    return pthread_create(&acceptor, NULL, accept_all, NULL);
}

int rig_stop(void **state)
{
    (void)state;
    shutdown(listener, SHUT_RDWR);
    close(listener);
    return pthread_join(acceptor, NULL);
}

/* --- the source --- */

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

static struct source *http_make(struct context *context)
{
    struct http_options options = {
        .url = url,
        .allow_plain = true,
        .redirects = 5,
        .verify = true,
        .connect_timeout_ms = 5000,
        .stall_timeout_ms = 5000,
        .local = ADDRESS_LOCAL_ALL,
        .connections = 6,
        .io_timeout_ms = 20000,
    };
    return http_source_new(context->curl, "test", &options);
}

static struct source *ftp_make(uv_loop_t *loop)
{
    struct ftp_options options = {
        .lines = {.url = url,
                  .local = ADDRESS_LOCAL_ALL,
                  .connect_timeout_ms = 5000,
                  .stall_timeout_ms = 5000,
                  .io_timeout_ms = 20000},
        .verify = true,
        .connections = 6,
    };
    return ftp_source_new(loop, "test", &options);
}

static struct source *make(uv_loop_t *loop, void *arg, void *cached)
{
    struct context *context = arg;
    struct source *source = strncmp(url, "ftp", 3) == 0 ? ftp_make(loop) : http_make(context);
    return *(bool *)cached ? cache_source_new(context->cache, source, true) : source;
}

void rig_check_contract(bool cached)
{
    struct contract contract = {
        .content = rig_content, .size = RIG_SIZE, .begin = begin, .end = end, .make = make, .arg = &cached};
    contract_check(&contract);
}

/* --- reads while there is trouble --- */

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
    assert_memory_equal(copy, rig_content + io->offset, io->length);
    free(copy);
    slices_clear(&io->data);
    seen.done++;
}

void rig_check_troubles(unsigned every)
{
    uv_loop_t loop;
    struct io ios[40];
    bool cached = false;
    memset(&seen, 0, sizeof seen);
    test_loop_begin(&loop);
    struct context *context = begin(&loop, NULL);
    struct source *source = make(&loop, context, &cached);
    source->opened = on_opened;
    source->closed = on_closed;
    source_open(source);
    while (!seen.opened)
        uv_run(&loop, UV_RUN_ONCE);
    rig_trouble_every = every;
    for (unsigned i = 0; i < 40; i++) {
        unsigned at = i % 2 ? i : 39 - i; /* in both directions */
        io_init(&ios[i], IO_READ, at * 50000, 20000 + i, on_done);
        source_submit(source, &ios[i]);
    }
    while (seen.done < 40)
        uv_run(&loop, UV_RUN_ONCE);
    rig_trouble_every = 0;
    assert_true(source->stats.retries > 0);
    source_close(source);
    while (!seen.closed)
        uv_run(&loop, UV_RUN_ONCE);
    source_free(source);
    end(context, NULL);
    test_loop_end(&loop);
}
