#include "slot/pipeline.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "block/trace.h"
#include "source/file.h"
#include "source/http.h"

static const char *either(const char *first, const char *second)
{
    return first ? first : second;
}

static bool option(int given, bool configured)
{
    return given >= 0 ? given > 0 : configured;
}

static struct fetch_options fetch_options(const struct config_http *http, const struct slot_insert_options *options)
{
    static const enum fetch_http versions[] = {
        [HTTP_VERSION_AUTO] = FETCH_HTTP_AUTO, [HTTP_VERSION_1_1] = FETCH_HTTP_1_1, [HTTP_VERSION_2] = FETCH_HTTP_2};
    static const enum fetch_auth auths[] = {
        [HTTP_AUTH_ANY] = FETCH_AUTH_ANY, [HTTP_AUTH_BASIC] = FETCH_AUTH_BASIC, [HTTP_AUTH_DIGEST] = FETCH_AUTH_DIGEST};
    return (struct fetch_options){
        .http = versions[http->version],
        .allow_plain = http->allow_plain,
        .redirects = (unsigned)http->redirects,
        .verify = option(options->verify, http->verify),
        .ca_file = either(options->ca_file, http->ca_file),
        .client_cert = http->client_cert,
        .client_key = http->client_key,
        .user = either(options->user, http->user),
        .password = either(options->password, http->password),
        .bearer_token = either(options->bearer_token, http->bearer_token),
        .auth = auths[http->auth],
        .proxy = http->proxy,
        .connect_timeout_ms = http->connect_timeout_ms,
        .stall_timeout_ms = http->stall_timeout_ms,
    };
}

static struct source *http_pipeline(const struct pipeline_context *context, const struct config_slot *config,
                                    const char *url, const struct slot_insert_options *options,
                                    char error[SLOT_ERROR_MAX])
{
    char reason[FETCH_ERROR_MAX], shown[256];
    if (!fetch_check_url(url, config->http.allow_plain, reason)) {
        text_url_public(url, shown, sizeof shown);
        snprintf(error, SLOT_ERROR_MAX, "%s: %.200s", shown, reason);
        return NULL;
    }
    if (options->writable > 0) {
        snprintf(error, SLOT_ERROR_MAX, "an image on a web server can't be written to (leave out writable=yes)");
        return NULL;
    }
    struct http_source_options http = {
        .url = url,
        .fetch = fetch_options(&config->http, options),
        .connections = (unsigned)config->http.connections,
        .io_timeout_ms = config->http.io_timeout_ms,
    };
    struct source *source = http_source_new(context->curl, config->name, &http);
    return cache_source_new(context->cache, source, config->http.readahead);
}

/* The path of a "file://" URL, decoded; NULL if it names another host. */
static char *file_url_path(const char *url)
{
    const char *path = url + strlen("file://");
    if (strncasecmp(path, "localhost/", 10) == 0)
        path += 9;
    if (*path != '/')
        return NULL;
    int length;
    char *decoded = curl_easy_unescape(NULL, path, 0, &length);
    char *copy = decoded && strlen(decoded) == (size_t)length ? mem_strdup(decoded) : NULL;
    curl_free(decoded);
    return copy;
}

static struct source *file_pipeline(const struct pipeline_context *context, const struct config_slot *config,
                                    const char *url, const struct slot_insert_options *options,
                                    char error[SLOT_ERROR_MAX])
{
    char *path = *url == '/' ? mem_strdup(url) : file_url_path(url);
    if (!path) {
        snprintf(error, SLOT_ERROR_MAX, "a file URL must be file:///PATH on this machine");
        return NULL;
    }
    struct file_source_options file = {
        .path = path,
        .directory = context->file_directory,
        .writable = option(options->writable, config->writable),
    };
    struct source *source = file_source_new(context->loop, config->name, &file);
    mem_free(path);
    return source;
}

struct source *pipeline_new(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                            const struct slot_insert_options *options, char error[SLOT_ERROR_MAX])
{
    bool is_file = *url == '/' || strncasecmp(url, "file://", 7) == 0;
    struct source *source = is_file ? file_pipeline(context, config, url, options, error)
                                    : http_pipeline(context, config, url, options, error);
    return source ? trace_source_new(source) : NULL;
}

void pipeline_set_trace(struct source *source, bool on)
{
    trace_source_set(source, on);
}

void pipeline_stats(struct source *source, struct source_stats *stats, uint64_t *cached)
{
    const struct source *lower = trace_source_lower(source);
    *stats = lower->stats;
    *cached = strcmp(lower->ops->name, "cache") == 0 ? cache_source_cached(lower) : 0;
}

bool pipeline_keepable(const struct source *source)
{
    (void)source;
    return true;
}

const char *pipeline_error(struct source *source)
{
    const struct source *lower = trace_source_lower(source);
    return *lower->error ? lower->error : source->error;
}
