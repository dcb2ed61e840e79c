#include "net/tls_client.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "net/address.h"
#include "net/ciphers.h"
#include "net/tls_internal.h"

struct tls_client {
    SSL_CTX *ssl;
    uint64_t timeout_ms;
};

static bool tls_client_failed(char *error, size_t size, const char *file)
{
    snprintf(error, size, "%s: %s", file, tls_words());
    return false;
}

static int tls_client_no_pass_phrase(char *buffer, int size, int writing, void *unused)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)unused;
    return -1;
}

static void trust_text(SSL_CTX *ssl, const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    if (!bio)
        mem_exhausted();
    for (X509 *one; (one = PEM_read_bio_X509(bio, NULL, tls_client_no_pass_phrase, NULL));) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), one);
        X509_free(one);
    }
    BIO_free(bio);
    ERR_clear_error(); /* the end of the file is an error to OpenSSL */
}

/* In the system's folder certificates are found by their hash; its file would be parsed whole for each context. */
static void trust_system(SSL_CTX *ssl)
{
    if (access(X509_get_default_cert_dir(), X_OK) == 0)
        SSL_CTX_set_default_verify_dir(ssl);
    else
        SSL_CTX_set_default_verify_paths(ssl);
}

static bool load_trust(SSL_CTX *ssl, const struct trust *trust, char *error, size_t size)
{
    if (trust->text)
        trust_text(ssl, trust->text);
    if (!trust->file)
        trust_system(ssl);
    else if (!trust->text && SSL_CTX_load_verify_file(ssl, trust->file) != 1)
        return tls_client_failed(error, size, trust->file);
    return true;
}

static bool load_own(SSL_CTX *ssl, const char *certificate, const char *key, char *error, size_t size)
{
    if (!certificate)
        return true;
    if (SSL_CTX_use_certificate_chain_file(ssl, certificate) != 1)
        return tls_client_failed(error, size, certificate);
    if (SSL_CTX_use_PrivateKey_file(ssl, key ? key : certificate, SSL_FILETYPE_PEM) != 1)
        return tls_client_failed(error, size, key ? key : certificate);
    return true;
}

struct tls_client *tls_client_new(const struct tls_client_options *options, char *error, size_t error_size)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (!ssl)
        mem_exhausted();
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ssl, ciphers_tls12_client());
    SSL_CTX_set_ciphersuites(ssl, ciphers_tls13());
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(ssl, tls_client_no_pass_phrase);
    SSL_CTX_set_verify(ssl, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    ERR_clear_error();
    if ((options->verify && !load_trust(ssl, options->trust, error, error_size)) ||
        !load_own(ssl, options->certificate, options->key, error, error_size)) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    struct tls_client *client = mem_alloc(sizeof *client);
    client->ssl = ssl;
    client->timeout_ms = options->handshake_timeout_ms;
    return client;
}

void tls_client_free(struct tls_client *client)
{
    if (!client)
        return;
    SSL_CTX_free(client->ssl);
    mem_free(client);
}

static void expect_host(SSL *ssl, const char *host)
{
    struct sockaddr_storage address;
    if (address_parse(host, &address)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
        return;
    }
    SSL_set_tlsext_host_name(ssl, host);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(ssl, host);
}

struct stream *tls_client_stream_new(struct tls_client *client, const char *host, struct stream *like,
                                     struct stream *below)
{
    SSL *ssl = SSL_new(client->ssl);
    if (!ssl)
        mem_exhausted();
    SSL_set_connect_state(ssl);
    expect_host(ssl, host);
    SSL_SESSION *session = like ? SSL_get1_session(tls_stream_ssl(like)) : NULL;
    if (session)
        SSL_set_session(ssl, session);
    SSL_SESSION_free(session);
    return tls_stream_on(ssl, below, client->timeout_ms);
}

bool tls_client_refusal(struct stream *stream, char words[TRUST_WORDS_MAX])
{
    SSL *ssl = tls_stream_ssl(stream);
    long result = SSL_get_verify_result(ssl);
    if (SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE || result == X509_V_OK)
        return false;
    if (!trust_dates(result, words))
        snprintf(words, TRUST_WORDS_MAX, "the server's certificate: %s (set ca-file to the server's CA, or mend the certificate)",
                 X509_verify_cert_error_string(result));
    return true;
}

bool tls_client_is_plain(struct stream *stream)
{
    return trust_is_plain(tls_stream_error(stream));
}
