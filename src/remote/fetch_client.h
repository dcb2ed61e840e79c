/*
 * An image on an HTTP, FTP or SFTP server, by ranges that are fetched in parallel
 * (remote/remote.h): what a range is checked against is remote/fetch.h's.
 */
#ifndef REMOTE_FETCH_CLIENT_H
#define REMOTE_FETCH_CLIENT_H

#include "remote/fetch.h"
#include "remote/remote.h"

struct fetch_source_options {
    const char *url; /* of location_url() */
    struct fetch_options fetch;
    unsigned connections; /* ranges in flight, 1..REMOTE_REQUESTS_MAX */
    uint64_t io_timeout_ms;
};

struct source *fetch_source_new(struct curl_loop *curl, const char *who, const struct fetch_source_options *options);

#endif
