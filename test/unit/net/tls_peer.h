/* The other end of a TLS stream, driven by hand, and certificates for both. */
#ifndef TEST_NET_TLS_PEER_H
#define TEST_NET_TLS_PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <uv.h>

struct tls_peer {
    uv_loop_t *loop;
    int fd;
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
    size_t split; /* bytes sent at a time, with turns of the loop between; 0: all */
    bool ended;   /* the other end closed the socket */
};

void tls_peer_begin(struct tls_peer *peer, uv_loop_t *loop, int fd);
void tls_peer_end(struct tls_peer *peer);
/* Sends what OpenSSL has to send, takes what has come. */
void tls_peer_exchange(struct tls_peer *peer);
/* True when the handshake is done; false when it failed. */
bool tls_peer_handshake(struct tls_peer *peer);
void tls_peer_write(struct tls_peer *peer, const void *data, size_t length);
/* What can be read now; 0 if nothing. -1: close_notify, -2: an error. */
int tls_peer_read(struct tls_peer *peer, void *to, size_t size);

/* A certificate with a key, in PEM files; signed by `ca` or by itself. */
struct tls_pair {
    X509 *certificate;
    EVP_PKEY *key;
};
struct tls_pair tls_pair_new(const char *name, const struct tls_pair *ca, int days);
void tls_pair_write(const struct tls_pair *pair, const char *certificate, const char *key);
void tls_pair_free(struct tls_pair *pair);

#endif
