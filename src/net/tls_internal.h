/* What the TLS context (tls_context.c), stream (tls_stream.c) and maker of
 * certificates (tls_certificate.c) share, and the client's side (tls_client.c). Private to net/. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/tls.h"

/* A connection in the making, with the certificate of now. */
SSL *tls_context_connection(struct tls_context *context);
uint64_t tls_context_timeout(const struct tls_context *context);
/* A stream of a connection in the making, of a server or a client, which it takes over. */
struct stream *tls_stream_on(SSL *ssl, struct stream *below, uint64_t timeout_ms);
SSL *tls_stream_ssl(struct stream *stream); /* stays the stream's */
/* The last error of OpenSSL in words, and none left behind. Never NULL. */
const char *tls_words(void);

#endif
