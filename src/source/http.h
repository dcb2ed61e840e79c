/*
 * An image on an HTTP(S) server, by parallel range requests.
 *
 * Opening probes: the first byte is fetched, redirects are resolved, and the
 * size and validators learnt; only then `opened`. Every range is checked against
 * them (net/fetch.h).
 *
 * A range that fails for a reason that may pass (no connection, a stall, 5xx) is
 * tried again. Once tries fail in a row the server counts as down: one probe at
 * a time asks whether it is back, with growing pauses, and all ranges wait for
 * it. A range that waited longer than `io_timeout_ms` is answered with EIO, but
 * the probing goes on, so that the host's own retry finds the server again. An
 * answer that can't be right (another range, another validator) is EIO at once.
 */
#ifndef SOURCE_HTTP_H
#define SOURCE_HTTP_H

#include "block/source.h"
#include "net/fetch.h"

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_BACKOFF_FIRST_MS 250
#define HTTP_BACKOFF_MAX_MS 5000

struct http_source_options {
    const char *url; /* of location_url() */
    struct fetch_options fetch;
    unsigned connections; /* ranges in flight, 1..HTTP_CONNECTIONS_MAX */
    uint64_t io_timeout_ms;
};

struct source *http_source_new(struct curl_loop *curl, const char *who, const struct http_source_options *options);

#endif
