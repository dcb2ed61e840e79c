/*
 * TLS (1.2 and 1.3) as a stream on a stream: a server's side. The client's is net/tls_client.h.
 *
 * A context holds the certificate, its key and, for mutual TLS, the authorities
 * that client certificates must come from. It may be reloaded while streams use
 * it: those streams keep what they began with, and session tickets from before are void.
 *
 * tls_stream_new() takes over the stream below and starts the handshake by
 * itself; what is written before its end waits. on_end comes with 0 only after
 * the peer's close_notify: a stream that ends without it was cut, which is
 * -ECONNRESET. A handshake or a record that is wrong is -EPROTO, a handshake
 * that takes too long -ETIMEDOUT; tls_stream_error() then has words.
 * stream_close() sends close_notify if the stream below takes it at once.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <time.h>

#include "net/stream.h"

#define TLS_HANDSHAKE_TIMEOUT_MS 10000
#define TLS_CONTROL_MAX          (64u << 10) /* answers of the protocol itself that a peer may leave unread */
#define TLS_SELF_SIGNED_DAYS     825         /* the longest that every browser takes */
#define TLS_RENEW_DAYS           30          /* one that ends sooner is due */
#define TLS_FINGERPRINT_MAX      96
#define TLS_DUE_MAX              320
#define TLS_NAMES_MAX            512

struct tls_context;
struct tls_options {
    const char *certificate;       /* PEM: the certificate, then those between it and its root */
    const char *key;               /* PEM, without a pass phrase; may be the same file */
    const char *client_ca;         /* PEM: who may sign client certificates; NULL: none is asked for */
    bool client_required;          /* without a client certificate there is no handshake */
    uint64_t handshake_timeout_ms; /* 0: TLS_HANDSHAKE_TIMEOUT_MS */
};

/* NULL on failure; `error` (of `error_size` bytes) then says what is wrong with which file. */
struct tls_context *tls_context_new(const struct tls_options *options, char *error, size_t error_size);
/* Reads the files again. On failure everything stays as it was. */
bool tls_context_reload(struct tls_context *context, char *error, size_t error_size);
/* When the certificate ends. */
time_t tls_context_expires(const struct tls_context *context);
/* The SHA-256 of the certificate, as browsers show it: "AB:CD:...". */
void tls_context_fingerprint(const struct tls_context *context, char text[TLS_FINGERPRINT_MAX]);
/* Why a certificate that this host signed for itself should be made anew, now that the clock, the host's names and its
 * addresses are what they are; "" for no reason. */
void tls_self_signed_due(const struct tls_context *context, char why[TLS_DUE_MAX]);
/* The names and addresses that the certificate is for, as far as they fit, with commas; whether `host` is one. */
bool tls_context_names(const struct tls_context *context, const char *host, char names[TLS_NAMES_MAX]);
/* Streams may outlive the context. NULL is allowed. */
void tls_context_free(struct tls_context *context);

struct stream *tls_stream_new(struct tls_context *context, struct stream *below);
/* Of the client's certificate, which was verified; NULL if there is none. Valid
 * from the first on_data until stream_free(). The subject is in RFC 2253's form. */
const char *tls_stream_subject(struct stream *stream);
const char *tls_stream_common_name(struct stream *stream);
/* Why on_end came with an error; "" if it did not. */
const char *tls_stream_error(struct stream *stream);

/* Makes a certificate, signed by itself, for the key in the file, or for a P-256 key that is made if there is none that
 * can be used. `names` (host names and IP addresses, NULL at the end) go in as alternative names; NULL
 * stands for those of this host. The files are replaced whole; the key's has mode 0600. */
bool tls_make_self_signed(const char *const *names, const char *certificate, const char *key, char *error,
                          size_t error_size);

#endif
