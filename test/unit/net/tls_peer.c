#include "tls_peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cmocka_all.h"

#define TURNS 6

void tls_peer_begin(struct tls_peer *peer, uv_loop_t *loop, int fd)
{
    memset(peer, 0, sizeof *peer);
    peer->loop = loop;
    peer->fd = fd;
    peer->context = SSL_CTX_new(TLS_client_method());
    peer->ssl = SSL_new(peer->context);
    peer->in = BIO_new(BIO_s_mem());
    peer->out = BIO_new(BIO_s_mem());
    SSL_set_bio(peer->ssl, peer->in, peer->out);
}

void tls_peer_end(struct tls_peer *peer)
{
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    if (peer->fd >= 0)
        close(peer->fd);
}

static void turns(struct tls_peer *peer)
{
    for (int i = 0; i < TURNS; i++)
        uv_run(peer->loop, UV_RUN_NOWAIT);
}

static void receive(struct tls_peer *peer)
{
    static unsigned char buffer[65536];
    ssize_t n;
    while ((n = recv(peer->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
        assert_int_equal(BIO_write(peer->in, buffer, (int)n), n);
    if (n == 0 || errno == ECONNRESET)
        peer->ended = true;
}

void tls_peer_exchange(struct tls_peer *peer)
{
    static unsigned char buffer[65536];
    size_t most = peer->split && peer->split < sizeof buffer ? peer->split : sizeof buffer;
    int length;
    while ((length = BIO_read(peer->out, buffer, (int)most)) > 0) {
        for (int sent = 0; sent < length && !peer->ended;) {
            ssize_t n = send(peer->fd, buffer + sent, (size_t)(length - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
            peer->ended = peer->ended || (n < 0 && errno != EAGAIN);
            sent += n > 0 ? (int)n : 0;
            uv_run(peer->loop, UV_RUN_NOWAIT);
        }
    }
    turns(peer);
    receive(peer);
}

bool tls_peer_handshake(struct tls_peer *peer)
{
    for (int round = 0; round < 20; round++) {
        ERR_clear_error();
        int status = SSL_connect(peer->ssl), error = SSL_get_error(peer->ssl, status);
        tls_peer_exchange(peer);
        if (status == 1)
            return true;
        if (error != SSL_ERROR_WANT_READ || (peer->ended && BIO_ctrl_pending(peer->in) == 0))
            return false;
    }
    return false;
}

void tls_peer_write(struct tls_peer *peer, const void *data, size_t length)
{
    assert_int_equal(SSL_write(peer->ssl, data, (int)length), length);
    tls_peer_exchange(peer);
}

int tls_peer_read(struct tls_peer *peer, void *to, size_t size)
{
    turns(peer);
    receive(peer);
    ERR_clear_error();
    int n = SSL_read(peer->ssl, to, (int)size);
    if (n > 0)
        return n;
    int error = SSL_get_error(peer->ssl, n);
    return error == SSL_ERROR_WANT_READ ? 0 : error == SSL_ERROR_ZERO_RETURN ? -1 : -2;
}

/* --- certificates --- */

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

struct tls_pair tls_pair_new(const char *name, const struct tls_pair *ca, int days)
{
    struct tls_pair pair = {X509_new(), EVP_EC_gen("P-256")};
    X509_NAME *subject = X509_get_subject_name(pair.certificate);
    X509_set_version(pair.certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(pair.certificate), ca ? 2 : 1);
    X509_time_adj_ex(X509_getm_notBefore(pair.certificate), -10, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(pair.certificate), days, 0, NULL);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Test, Inc.", -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(pair.certificate, ca ? X509_get_subject_name(ca->certificate) : subject);
    X509_set_pubkey(pair.certificate, pair.key);
    extend(pair.certificate, ca ? ca->certificate : pair.certificate, NID_basic_constraints,
           ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
    X509_sign(pair.certificate, ca ? ca->key : pair.key, EVP_sha256());
    return pair;
}

void tls_pair_write(const struct tls_pair *pair, const char *certificate, const char *key)
{
    FILE *file = fopen(certificate, "w");
    assert_int_equal(PEM_write_X509(file, pair->certificate), 1);
    fclose(file);
    file = fopen(key, "w");
    assert_int_equal(PEM_write_PrivateKey(file, pair->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

void tls_pair_free(struct tls_pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
}
