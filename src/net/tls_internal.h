/* What the TLS context (tls_context.c), stream (tls_stream.c) and maker of
 * certificates (tls_certificate.c) share, and the client's side (tls_client.c). Private to net/. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/tls.h"

X509 *tls_context_certificate(const struct tls_context *context); /* stays the context's */
/* The SSL of a new connection, with the certificate that is in force now. */
SSL *tls_context_connection(struct tls_context *context);
uint64_t tls_context_timeout(const struct tls_context *context);
/* The stream of a new connection, a server's or a client's; takes over `ssl` and `below`. */
struct stream *tls_stream_on(SSL *ssl, struct stream *below, uint64_t timeout_ms);
SSL *tls_stream_ssl(struct stream *stream); /* stays the stream's */
/* OpenSSL's last error in words; its queue of errors is empty afterwards. Never NULL. */
const char *tls_words(void);

#endif
