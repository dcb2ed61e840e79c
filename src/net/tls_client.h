/*
 * The client's side of TLS (1.2 and 1.3) for what does not go by libcurl: net/tls_trust.h
 * says which authorities are believed, the certificate must have the server's name as a
 * subjectAltName, and a client certificate is shown if there is one.
 *
 * The stream is one of net/tls.h: on_end says how it ended, tls_stream_error() in words.
 */
#ifndef NET_TLS_CLIENT_H
#define NET_TLS_CLIENT_H

#include "net/stream.h"
#include "net/tls_trust.h"

struct tls_client;

struct tls_client_options {
    bool verify;
    const struct trust *trust;
    const char *certificate, *key; /* PEM files; NULL: none */
    uint64_t handshake_timeout_ms;
};

/* NULL on failure; `error` (of `error_size` bytes) then says what is wrong with which file. */
struct tls_client *tls_client_new(const struct tls_client_options *options, char *error, size_t error_size);
void tls_client_free(struct tls_client *client); /* NULL is allowed; streams may outlive it */

/* Takes over the stream below. `like`: a stream to the same server, whose TLS session is
 * resumed (many FTP servers insist on that); NULL: none. */
struct stream *tls_client_stream_new(struct tls_client *client, const char *host, struct stream *like,
                                     struct stream *below);
/* Did the handshake fail because the server's certificate was not accepted? Then `words` say why, and what to do. */
bool tls_client_refusal(struct stream *stream, char words[TRUST_WORDS_MAX]);
/* Did the server's answer turn out not to be TLS? */
bool tls_client_is_plain(struct stream *stream);

#endif
