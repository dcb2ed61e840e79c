/*
 * An image on an HTTP(S) server, by parallel range requests (source/remote.h).
 *
 * A probe fetches the first byte, resolves redirects, and learns the size and
 * validators. Every range is checked against them (net/fetch.h).
 */
#ifndef SOURCE_HTTP_H
#define SOURCE_HTTP_H

#include "net/fetch.h"
#include "source/remote.h"

struct http_source_options {
    const char *url; /* of location_url() */
    struct fetch_options fetch;
    unsigned connections; /* ranges in flight, 1..REMOTE_REQUESTS_MAX */
    uint64_t io_timeout_ms;
};

struct source *http_source_new(struct curl_loop *curl, const char *who, const struct http_source_options *options);

#endif
