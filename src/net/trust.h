/*
 * Whom a transfer of libcurl trusts: the system's certificate authorities, or those of a
 * file in their place, and certificates in memory beside them.
 */
#ifndef NET_TRUST_H
#define NET_TRUST_H

#include <curl/curl.h>

#define TRUST_FILE_MAX (2u << 20) /* of a file that certificates in memory are added to; the rest is not seen */

struct trust {
    char *file; /* NULL: the system's */
    char *text; /* all of them in PEM; NULL: libcurl reads the file, for each connection */
};

/* Either may be NULL or "". With certificates in `pem` the file is read here, once: libcurl trusts
 * a text or a file, and not both. A file that can't be read adds none then. */
void trust_init(struct trust *trust, const char *file, const char *pem);
/* The trust must outlive the handle's transfers. */
void trust_apply(const struct trust *trust, CURL *easy);
void trust_clear(struct trust *trust);

#endif
