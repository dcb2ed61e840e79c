#include "fetch_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "block/cache.h"
#include "loopback.h"
#include "remote/ftp/ftp.h"
#include "remote/http/http.h"
#include "source_rig.h"

unsigned char rig_content[RIG_SIZE];
atomic_uint rig_trouble_every;

static char url[64];
/* --- the server --- */

int rig_start(const char *scheme, void *(*serve)(void *fd))
{
    for (unsigned i = 0; i < RIG_SIZE; i++)
        rig_content[i] = (unsigned char)random();
    uint16_t port = loopback_start(serve);
    snprintf(url, sizeof url, "%s://127.0.0.1:%u/image", scheme, port);
    return port ? 0 : -1;
}

int rig_stop(void **state)
{
    (void)state;
    return loopback_stop();
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

void rig_check_troubles(unsigned every)
{
    struct io ios[40];
    bool cached = false;
    source_rig_begin(rig_content);
    struct context *context = begin(&rig.loop, NULL);
    assert_int_equal(source_rig_open(make(&rig.loop, context, &cached)), 0);
    rig_trouble_every = every;
    for (unsigned i = 0; i < 40; i++) {
        unsigned at = i % 2 ? i : 39 - i; /* in both directions */
        io_init(&ios[i], IO_READ, at * 50000, 20000 + i, source_rig_done);
        source_submit(rig.source, &ios[i]);
    }
    source_rig_wait(40);
    assert_int_equal(rig.good, 40);
    rig_trouble_every = 0;
    assert_true(rig.source->stats.retries > 0);
    source_rig_close();
    end(context, NULL);
    source_rig_end();
}
