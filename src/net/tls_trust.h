/*
 * Whom a connection by TLS trusts: the system's certificate authorities, or those of a
 * file in their place, and certificates in memory beside them.
 */
#ifndef NET_TLS_TRUST_H
#define NET_TLS_TRUST_H

#include <stdbool.h>

#define TRUST_WORDS_MAX 200
#define TRUST_FILE_MAX (2u << 20) /* bytes that are read of a file to which certificates in memory are added */

struct trust {
    char *file; /* NULL: the system's */
    char *text; /* all certificates in PEM; NULL: libcurl reads `file`, for each connection */
};

/* Either may be NULL or "". With certificates in `pem` the file is read here, once: libcurl trusts
 * a text or a file, and not both. A file that can't be read adds no certificates then. */
void trust_init(struct trust *trust, const char *file, const char *pem);
void trust_clear(struct trust *trust);

/* Was a certificate refused for its dates? `result`: X509_V_... Then `words` say so, and by which clock: a
 * BMC without a battery begins in 1970. */
bool trust_dates(long result, char words[TRUST_WORDS_MAX]);
/* Do OpenSSL's words for a handshake that failed mean that the answer was no TLS? */
bool trust_is_plain(const char *words);

#endif
