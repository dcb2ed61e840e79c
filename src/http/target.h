/* What a request is for: its target (RFC 9112, 3.2), and the host that it is asked of (RFC 9110, 7.2). Pure. */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include <stdbool.h>

struct http_target {
    const char *path, *query; /* decoded and clean; without the "?" */
};

/* In origin-form, absolute-form, or "*" for OPTIONS; cut up and decoded in place. False: it must be refused. */
bool http_target_read(struct http_target *to, char *target, const char *method, const char *host);
/* uri-host [ ":" port ] */
bool http_is_host(const char *text);

/* The tab does not count as a control byte here. */
static inline bool http_is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

#endif
