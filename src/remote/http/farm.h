/*
 * Is an image the same wherever it is asked for? A farm of servers, or a cache that keeps a file in pieces, may have another
 * ETag for each: then the insert would be good, and each read of another piece an error. So parts that
 * are far from each other are asked for once, beside each other and, by HTTP/1.1, on connections of their own.
 */
#ifndef REMOTE_HTTP_FARM_H
#define REMOTE_HTTP_FARM_H

#include <stdbool.h>

struct http_fetch;
struct http_image;
struct http_resource;

#define HTTP_FARM_PARTS 2
#define HTTP_FARM_LEAST (1u << 20) /* an image smaller than that is read in one piece or two */

struct http_farm {
    bool differs; /* valid in `done`: a part is of another version. A part that could not be read proves nothing. */
    void (*done)(struct http_farm *farm); /* once, from the loop */

    /* Internal. */
    struct http_fetch *parts[HTTP_FARM_PARTS];
    unsigned started, under_way, at_a_time;
    const struct http_resource *resource;
};

/* False: there is nothing to compare, and `done` does not come. `resource` is what a probe found, and must live until
 * `done`. The farm is zeroed but for `done`; `at_a_time`: connections that may be used. */
bool http_farm_start(struct http_farm *farm, struct http_image *image,
                     const struct http_resource *resource, unsigned at_a_time);
void http_farm_cancel(struct http_farm *farm); /* `done` does not come; legal when idle */

#endif
