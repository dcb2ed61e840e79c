/* What the TLS context (tls_context.c), stream (tls_stream.c) and maker of
 * certificates (tls_certificate.c) share. Private to net/. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/tls.h"

/* A connection in the making, with the certificate of now. */
SSL *tls_context_connection(struct tls_context *context);
uint64_t tls_context_timeout(const struct tls_context *context);
/* The last error of OpenSSL in words, and none left behind. Never NULL. */
const char *tls_words(void);

#endif
