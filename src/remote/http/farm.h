/*
 * Is an image the same wherever it is asked for? A farm of servers, or a cache that keeps a file in pieces, may have another
 * ETag for each: then the insert would be good, and each read of another piece an error. So parts that
 * are far from each other are asked for once, beside each other and, by HTTP/1.1, on connections of their own.
 *
 * On a long link, where the probe is not answered within HTTP_FARM_FAR_MS, the part that is near the beginning is asked for beside
 * the probe, so that a second connection is not waited for afterwards. Where that is of no use (a redirect) it is asked
 * for again, as the end is.
 */
#ifndef REMOTE_HTTP_FARM_H
#define REMOTE_HTTP_FARM_H

#include <stdbool.h>

struct http_fetch;
struct http_image;
struct http_resource;

enum http_farm_part { HTTP_FARM_END, HTTP_FARM_NEAR, HTTP_FARM_PARTS };

#define HTTP_FARM_NEAR_AT (1u << 20) /* in another piece than the beginning, of a cache that keeps so much in each */
#define HTTP_FARM_LEAST   (2u << 20) /* an image smaller than that is read in one piece or two */
#define HTTP_FARM_FAR_MS  60

struct http_farm {
    bool differs; /* valid in `done`: a part is of another version. A part that could not be read proves nothing. */
    void (*done)(struct http_farm *farm); /* once, from the loop */

    /* Internal. */
    struct http_fetch *parts[HTTP_FARM_PARTS];
    unsigned started, under_way, at_a_time;
    const struct http_resource *resource; /* NULL: the probe is not over */
};

/* For a probe that begins. `at_a_time`: connections that may be used; with one only, nothing happens. */
void http_farm_prepare(struct http_farm *farm, struct http_image *image, unsigned at_a_time);
/* False: there is nothing to compare, and `done` does not come. `resource` is what the probe found, and must live until
 * `done`. */
bool http_farm_start(struct http_farm *farm, struct http_image *image,
                     const struct http_resource *resource, unsigned at_a_time);
void http_farm_cancel(struct http_farm *farm); /* `done` does not come; legal when idle */

#endif
