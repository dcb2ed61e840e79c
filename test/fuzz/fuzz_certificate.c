/* A certificate that a client adds to a slot: refused in words, or one that is shown, and reads back as it is written. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/redfish/internal.h"
#include "api/site/certificate_store.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* All that is said of it is JSON, which is UTF-8. */
static void show(X509 *x509)
{
    json_t *json = json_object();
    redfish_certificate_facts(json, x509);
    char *text = json_dumps(json, 0);
    must(text && json_object_get(json, "Subject") && json_object_get(json, "SerialNumber"));
    free(text);
    json_decref(json);
}

/* The block in PEM of what may be the inside of a certificate: changes of its bytes get past base64 so. */
static char *pem_of(const uint8_t *data, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *memory, *text;
    must(bio && PEM_write_bio(bio, PEM_STRING_X509, "", data, (long)size) > 0);
    size_t length = (size_t)BIO_get_mem_data(bio, &memory);
    text = mem_alloc(length + 1);
    memcpy(text, memory, length);
    BIO_free(bio);
    return text;
}

/* A certificate with its key reads back as it is written. */
static void try_pair(const char *text)
{
    char error[CERTIFICATE_ERROR] = "", *pem, *key, *again[2];
    if (!certificate_pair(text, &pem, &key, error)) {
        must(*error && ERR_peek_error() == 0);
        return;
    }
    size_t size = strlen(pem) + strlen(key) + 1;
    char *both = mem_alloc(size);
    snprintf(both, size, "%s%s", pem, key);
    must(certificate_pair(both, &again[0], &again[1], error) && strcmp(again[0], pem) == 0 && strcmp(again[1], key) == 0);
    mem_free(both);
    mem_free(pem);
    mem_free(key);
    mem_free(again[0]);
    mem_free(again[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[CERTIFICATE_ERROR] = "", *text;
    if (size > 0 && data[0] == '0') { /* how DER begins: a sequence */
        text = pem_of(data, size);
    } else {
        text = mem_alloc(size + 1);
        memcpy(text, data, size);
    }
    X509 *x509 = certificate_parse(text, error);
    must(x509 || *error);
    if (x509)
        show(x509);
    X509_free(x509);
    must(ERR_peek_error() == 0 || x509); /* nothing is left for whoever asks OpenSSL next */
    ERR_clear_error();
    try_pair(text);
    mem_free(text);
    return 0;
}
