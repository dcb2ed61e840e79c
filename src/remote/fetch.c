#include "remote/fetch.h"

#include <build-config.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "net/tls_client.h"
#include "remote/fetch_internal.h"
#include "remote/http/route.h"
#include "remote/lines.h"

static char *copy_if_set(const char *text)
{
    return text && *text ? mem_strdup(text) : NULL;
}

/* What has no origin of its own is for the server that the fetches begin at. */
static void set_origin(struct origin *origin, const char *text, const char *url)
{
    if (text && *text)
        origin_read(origin, text);
    else
        origin_read_server(origin, url);
}

struct fetch_setup *fetch_setup_new(const struct fetch_options *options, const char *url)
{
    struct fetch_setup *setup = mem_alloc(sizeof *setup);
    setup->http = options->http;
    setup->allow_plain = options->allow_plain;
    setup->verify = options->verify;
    setup->redirects = options->redirects;
    trust_init(&setup->trust, options->ca_file, options->ca_pem);
    setup->client_cert = copy_if_set(options->client_cert);
    setup->client_key = copy_if_set(options->client_key);
    setup->user = copy_if_set(options->user);
    setup->password = copy_if_set(options->password);
    setup->bearer_token = copy_if_set(options->bearer_token);
    set_origin(&setup->key_origin, options->key_origin, url);
    set_origin(&setup->login_origin, options->login_origin, url);
    setup->proxy = copy_if_set(options->proxy);
    setup->auth = options->auth;
    setup->by_time = options->by_time;
    setup->local = options->local;
    setup->connect_timeout_ms = options->connect_timeout_ms;
    setup->stall_timeout_ms = options->stall_timeout_ms;
    setup->ftp_tls = options->ftp_tls;
    setup->ssh_known_hosts = copy_if_set(options->ssh_known_hosts);
    setup->ssh_host_key = copy_if_set(options->ssh_host_key);
    setup->ssh_key = copy_if_set(options->ssh_key);
    return setup;
}

void fetch_setup_free(struct fetch_setup *setup)
{
    if (!setup)
        return;
    fetch_lines_free(setup->lines);
    fetch_route_forget(setup);
    tls_client_free(setup->tls);
    trust_clear(&setup->trust);
    origin_clear(&setup->key_origin);
    origin_clear(&setup->login_origin);
    mem_free(setup->client_cert);
    mem_free(setup->client_key);
    mem_free_secret(setup->user);
    mem_free_secret(setup->password);
    mem_free_secret(setup->bearer_token);
    mem_free_secret(setup->proxy); /* may carry a password */
    mem_free(setup->ssh_known_hosts);
    mem_free(setup->ssh_host_key);
    mem_free(setup->ssh_key);
    mem_free(setup);
}

/* --- for the protocols --- */

void fetch_judge(struct fetch *fetch, enum fetch_verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fetch->verdict = verdict;
    fetch->reason = 0;
    fetch->busy = false;
    fetch->retry_after_ms = 0;
    vsnprintf(fetch->error, sizeof fetch->error, format, args);
    va_end(args);
}

void fetch_set_validator(char to[FETCH_VALIDATOR_MAX], const char *value)
{
    /* One too long to keep is one that can't be compared: as if there were none. */
    snprintf(to, FETCH_VALIDATOR_MAX, "%s", value && strlen(value) < FETCH_VALIDATOR_MAX ? value : "");
}

void fetch_finish(struct fetch *fetch)
{
    fetch->running = false;
    if (fetch->verdict != FETCH_OK)
        slices_clear(&fetch->data);
    fetch->done(fetch);
}

/* --- which protocol --- */

static const struct fetch_protocol *const protocols[] = {
    &fetch_http,
    &fetch_ftp,
#ifdef HAVE_LIBSSH2
    &fetch_sftp,
#endif
};

static const struct fetch_protocol *find_protocol(const char *scheme, size_t length)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        for (const char *const *s = protocols[i]->schemes; *s; s++)
            if (strlen(*s) == length && strncasecmp(*s, scheme, length) == 0)
                return protocols[i];
    return NULL;
}

static const struct fetch_protocol *protocol_of(const char *url)
{
    const struct fetch_protocol *protocol = find_protocol(url, strcspn(url, ":"));
    return protocol ? protocol : &fetch_http; /* it says what is wrong with the URL */
}

bool fetch_speaks(const char *scheme)
{
    return find_protocol(scheme, strlen(scheme));
}

unsigned fetch_connections(const char *url, unsigned wanted)
{
    unsigned most = protocol_of(url)->connections;
    return wanted < most ? wanted : most;
}

/* --- starting --- */

static void start(struct fetch *fetch, const char *url)
{
    if (!fetch->protocol) {
        fetch->protocol = protocol_of(url);
        fetch->protocol->init(fetch);
    }
    if (fetch->probe)
        fetch->length = fetch->protocol->probe_bytes;
    slices_clear(&fetch->data);
    slices_alloc(&fetch->data, fetch->length, BYTES_PIECE);
    fetch->filled = 0;
    fetch->received = fetch->first_byte_us = 0;
    fetch->verdict = FETCH_TRANSIENT;
    fetch->reason = 0;
    *fetch->error = '\0';
    fetch->running = true;
    fetch->protocol->start(fetch, url);
}

void fetch_probe(struct fetch *fetch, const char *url)
{
    fetch->probe = true;
    fetch->expect = NULL;
    fetch->offset = 0;
    memset(&fetch->found, 0, sizeof fetch->found);
    start(fetch, url);
}

void fetch_range(struct fetch *fetch, const struct fetch_resource *resource, uint64_t offset, uint32_t length)
{
    fetch->probe = false;
    fetch->expect = resource;
    fetch->offset = offset;
    fetch->length = length;
    start(fetch, resource->url);
}

/* --- life --- */

struct fetch *fetch_new(struct curl_loop *curl, struct fetch_setup *setup)
{
    struct fetch *fetch = mem_alloc(sizeof *fetch);
    fetch->curl = curl;
    fetch->setup = setup;
    slices_init(&fetch->data);
    list_init(&fetch->link);
    return fetch;
}

bool fetch_running(const struct fetch *fetch)
{
    return fetch->running;
}

void fetch_cancel(struct fetch *fetch)
{
    if (fetch->running)
        fetch->protocol->cancel(fetch);
    fetch->running = false;
    slices_clear(&fetch->data);
}

void fetch_free(struct fetch *fetch)
{
    if (!fetch)
        return;
    fetch_cancel(fetch);
    if (fetch->protocol)
        fetch->protocol->free(fetch);
    mem_free(fetch);
}
