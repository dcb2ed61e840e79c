/* Certificates and settings: see net/tls.h. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "net/ciphers.h"
#include "net/tls_internal.h"

#define GROUPS         "X25519:P-256:P-384" /* none that costs much */
#define SECURITY_LEVEL 2                    /* RSA of 2048 bits and more, no SHA-1 */

static const unsigned char alpn_http[] = "\x08http/1.1";
static const unsigned char session_context[] = "nbd-proxy";

struct tls_context {
    SSL_CTX *ssl;
    time_t expires;
    char *certificate, *key, *client_ca;
    bool client_required;
    uint64_t timeout_ms;
};

struct failure {
    char *text;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool failed(const struct failure *failure, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(failure->text, failure->size, format, args);
    va_end(args);
    ERR_clear_error();
    return false;
}

const char *tls_words(void)
{
    unsigned long error = ERR_peek_last_error();
    const char *words = error == 0                ? NULL
                        : ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
                                                  : ERR_reason_error_string(error);
    ERR_clear_error();
    return words ? words : "unknown error";
}

static FILE *open_pem(const char *path, const struct failure *failure)
{
    FILE *file = fopen(path, "re");
    if (!file)
        failed(failure, "%s: %s", path, strerror(errno));
    return file;
}

static int tls_context_no_pass_phrase(char *buffer, int size, int writing, void *asked)
{
    (void)buffer;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static void warn_about_mode(const char *path, FILE *file)
{
    struct stat st;
    if (fstat(fileno(file), &st) == 0 && (st.st_mode & 0007))
        log_warning("tls", "%s: everybody may read this key (chmod 600 helps)", path);
}

static bool load_certificate(const struct tls_context *context, SSL_CTX *ssl, const struct failure *failure)
{
    FILE *file = open_pem(context->certificate, failure);
    if (!file)
        return false;
    fclose(file);
    if (SSL_CTX_use_certificate_chain_file(ssl, context->certificate) != 1)
        return failed(failure, "%s: not a certificate that can be used: %s", context->certificate, tls_words());
    return true;
}

static bool load_key(const struct tls_context *context, SSL_CTX *ssl, const struct failure *failure)
{
    bool asked = false;
    FILE *file = open_pem(context->key, failure);
    if (!file)
        return false;
    warn_about_mode(context->key, file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, tls_context_no_pass_phrase, &asked);
    fclose(file);
    if (!key && asked)
        return failed(failure, "%s: the key has a pass phrase (remove it: openssl pkey)", context->key);
    if (!key)
        return failed(failure, "%s: not a private key: %s", context->key, tls_words());
    bool match = X509_check_private_key(SSL_CTX_get0_certificate(ssl), key) == 1;
    bool used = match && SSL_CTX_use_PrivateKey(ssl, key) == 1;
    EVP_PKEY_free(key);
    if (!match)
        return failed(failure, "%s does not belong to the certificate in %s", context->key, context->certificate);
    return used || failed(failure, "%s: %s", context->key, tls_words());
}

static bool load_client_ca(const struct tls_context *context, SSL_CTX *ssl, const struct failure *failure)
{
    if (!context->client_ca)
        return true;
    FILE *file = open_pem(context->client_ca, failure);
    if (!file)
        return false;
    fclose(file);
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(context->client_ca);
    if (!names || SSL_CTX_load_verify_file(ssl, context->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return failed(failure, "%s: no certificates of an authority: %s", context->client_ca, tls_words());
    }
    SSL_CTX_set_client_CA_list(ssl, names);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (context->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    return true;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *length, const unsigned char *in,
                   unsigned in_length, void *arg)
{
    (void)ssl;
    (void)arg;
    int status =
        SSL_select_next_proto((unsigned char **)(uintptr_t)out, length, alpn_http, sizeof alpn_http - 1, in, in_length);
    return status == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *settings_new(void)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (!ssl || SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ssl, ciphers_tls12()) != 1 || SSL_CTX_set_ciphersuites(ssl, ciphers_tls13()) != 1 ||
        SSL_CTX_set1_groups_list(ssl, GROUPS) != 1)
        mem_exhausted();
    SSL_CTX_set_security_level(ssl, SECURITY_LEVEL);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF); /* tickets: the client keeps its session */
    SSL_CTX_set_session_id_context(ssl, session_context, sizeof session_context - 1);
    SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
    return ssl;
}

static time_t end_of(const X509 *certificate)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? timegm(&tm) : 0;
}

bool tls_context_reload(struct tls_context *context, char *error, size_t error_size)
{
    struct failure failure = {error, error_size};
    SSL_CTX *ssl = settings_new();
    ERR_clear_error();
    if (!load_certificate(context, ssl, &failure) || !load_key(context, ssl, &failure) ||
        !load_client_ca(context, ssl, &failure)) {
        SSL_CTX_free(ssl);
        return false;
    }
    SSL_CTX_free(context->ssl);
    context->ssl = ssl;
    context->expires = end_of(SSL_CTX_get0_certificate(ssl));
    if (context->expires < time(NULL))
        log_warning("tls", "%s: the certificate has expired", context->certificate);
    return true;
}

struct tls_context *tls_context_new(const struct tls_options *options, char *error, size_t error_size)
{
    struct tls_context *context = mem_alloc(sizeof *context);
    context->certificate = mem_strdup(options->certificate);
    context->key = mem_strdup(options->key);
    context->client_ca = mem_strdup(options->client_ca);
    context->client_required = options->client_required;
    context->timeout_ms = options->handshake_timeout_ms ? options->handshake_timeout_ms : TLS_HANDSHAKE_TIMEOUT_MS;
    if (tls_context_reload(context, error, error_size))
        return context;
    tls_context_free(context);
    return NULL;
}

time_t tls_context_expires(const struct tls_context *context)
{
    return context->expires;
}

X509 *tls_context_certificate(const struct tls_context *context)
{
    return SSL_CTX_get0_certificate(context->ssl);
}

void tls_context_fingerprint(const struct tls_context *context, char text[TLS_FINGERPRINT_MAX])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    X509_digest(tls_context_certificate(context), EVP_sha256(), digest, &length);
    *text = '\0';
    for (unsigned i = 0; i < length && 3 * i + 3 <= TLS_FINGERPRINT_MAX; i++)
        snprintf(text + (i ? 3 * i - 1 : 0), 4, i ? ":%02X" : "%02X", digest[i]);
}

uint64_t tls_context_timeout(const struct tls_context *context)
{
    return context->timeout_ms;
}

SSL *tls_context_connection(struct tls_context *context)
{
    SSL *ssl = SSL_new(context->ssl);
    if (!ssl)
        mem_exhausted();
    return ssl;
}

void tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    mem_free(context->certificate);
    mem_free(context->key);
    mem_free(context->client_ca);
    mem_free(context);
}
