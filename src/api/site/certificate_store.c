#include "api/site/certificate_store.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/log.h"
#include "base/save.h"
#include "base/text.h"

#define WHO     "redfish"
#define VERSION 1

struct certificate_store {
    struct save save;
    const bool *keep_keys; /* NULL: there are no keys */
    struct certificate all[CERTIFICATES_MAX];
    unsigned count;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* --- one --- */

static void *site_certificate_store_fail(char error[CERTIFICATE_ERROR], const char *words)
{
    snprintf(error, CERTIFICATE_ERROR, "%s", words);
    ERR_clear_error();
    return NULL;
}

/* The content of the text's only block in PEM, for OPENSSL_free(). */
static unsigned char *only_block(BIO *bio, long *length, char error[CERTIFICATE_ERROR])
{
    char *name = NULL, *header = NULL, *other_name = NULL, *other_header = NULL;
    unsigned char *data = NULL, *other = NULL;
    long other_length;
    const char *problem = NULL;
    if (!PEM_read_bio(bio, &name, &header, &data, length))
        problem = "it is not in PEM";
    else if (strcmp(name, PEM_STRING_X509) != 0)
        problem = "its PEM is not of a certificate";
    else if (PEM_read_bio(bio, &other_name, &other_header, &other, &other_length))
        problem = "there is more than one certificate";
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(other_name);
    OPENSSL_free(other_header);
    OPENSSL_free(other);
    ERR_clear_error();
    if (!problem)
        return data;
    OPENSSL_free(data);
    return site_certificate_store_fail(error, problem);
}

X509 *certificate_parse(const char *pem, char error[CERTIFICATE_ERROR])
{
    size_t size = strlen(pem);
    long length = 0;
    if (size > CERTIFICATE_MAX)
        return site_certificate_store_fail(error, "it is longer than 16 KiB");
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    if (!bio)
        mem_exhausted();
    unsigned char *data = only_block(bio, &length, error);
    const unsigned char *at = data;
    X509 *x509 = data ? d2i_X509(NULL, &at, length) : NULL;
    if (data && x509 && at != data + length) {
        X509_free(x509);
        x509 = NULL;
    }
    if (data && !x509)
        site_certificate_store_fail(error, "it is damaged");
    OPENSSL_free(data);
    BIO_free(bio);
    return x509;
}

/* As OpenSSL writes it, for mem_free(): nothing else that a client sent gets into a file. */
static char *write_pem(X509 *x509)
{
    char *text;
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_X509(bio, x509) != 1)
        mem_exhausted();
    size_t length = (size_t)BIO_get_mem_data(bio, &text);
    char *pem = mem_alloc(length + 1);
    memcpy(pem, text, length);
    BIO_free(bio);
    return pem;
}

/* --- one with its key --- */

/* There is no pass phrase, and nobody to be asked. */
static int on_certificate_phrase(char *phrase, int size, int writing, void *arg)
{
    (void)phrase, (void)size, (void)writing, (void)arg;
    return -1;
}

struct pem_blocks {
    unsigned certificates, keys, others;
};

static void pem_count(BIO *bio, struct pem_blocks *blocks)
{
    static const char key_end[] = "PRIVATE KEY";
    char *name, *header;
    unsigned char *data;
    long length;
    while (PEM_read_bio(bio, &name, &header, &data, &length)) {
        size_t size = strlen(name), end = sizeof key_end - 1;
        if (strcmp(name, PEM_STRING_X509) == 0)
            blocks->certificates++;
        else if (size >= end && strcmp(name + size - end, key_end) == 0)
            blocks->keys++;
        else if (strcmp(name, PEM_STRING_ECPARAMETERS) != 0) /* which openssl writes before a key */
            blocks->others++;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)length);
    }
    ERR_clear_error();
}

static const char *pair_problem(BIO *bio, X509 **x509, EVP_PKEY **key)
{
    struct pem_blocks blocks = {0};
    pem_count(bio, &blocks);
    if (blocks.certificates != 1 || blocks.keys != 1 || blocks.others > 0)
        return "there are not one certificate and one key in PEM";
    (void)BIO_reset(bio);
    *x509 = PEM_read_bio_X509(bio, NULL, on_certificate_phrase, NULL);
    (void)BIO_reset(bio);
    *key = PEM_read_bio_PrivateKey(bio, NULL, on_certificate_phrase, NULL);
    if (!*x509 || !*key)
        return *x509 ? "its key is damaged, or has a pass phrase" : "it is damaged";
    return X509_check_private_key(*x509, *key) == 1 ? NULL : "the key is of another certificate";
}

static char *write_key(EVP_PKEY *pkey)
{
    char *text;
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
        mem_exhausted();
    size_t length = (size_t)BIO_get_mem_data(bio, &text);
    char *key = mem_alloc(length + 1);
    memcpy(key, text, length);
    OPENSSL_cleanse(text, length);
    BIO_free(bio);
    return key;
}

bool certificate_pair(const char *text, char **pem, char **key, char error[CERTIFICATE_ERROR])
{
    size_t size = strlen(text);
    X509 *x509 = NULL;
    EVP_PKEY *pkey = NULL;
    BIO *bio = BIO_new_mem_buf(text, (int)(size < 2 * CERTIFICATE_MAX ? size : 2 * CERTIFICATE_MAX));
    if (!bio)
        mem_exhausted();
    const char *problem = size > 2 * CERTIFICATE_MAX ? "it is longer than 32 KiB" : pair_problem(bio, &x509, &pkey);
    if (problem) {
        site_certificate_store_fail(error, problem);
    } else {
        *pem = write_pem(x509);
        *key = write_key(pkey);
    }
    BIO_free(bio);
    X509_free(x509);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return !problem;
}

/* What the store takes, as OpenSSL writes it; `key` is NULL in a store without keys. */
static bool certificate_read(const struct certificate_store *store, const char *text, char **pem, char **key,
                             char error[CERTIFICATE_ERROR])
{
    if (store->keep_keys)
        return certificate_pair(text, pem, key, error);
    X509 *x509 = certificate_parse(text, error);
    *pem = x509 ? write_pem(x509) : NULL;
    *key = NULL;
    X509_free(x509);
    return *pem;
}

/* --- the file --- */

static void site_certificate_store_load_entry(struct certificate_store *store, const json_t *entry)
{
    const char *slot = json_string_value(json_object_get(entry, "slot"));
    const char *text = json_string_value(json_object_get(entry, "certificate"));
    json_int_t id = json_integer_value(json_object_get(entry, "id"));
    char error[CERTIFICATE_ERROR] = "it is incomplete", *pem, *key;
    bool complete = slot && text && id > 0 && id <= INT32_MAX && strlen(slot) < CONFIG_SLOT_NAME_MAX;
    if (!complete || store->count >= CERTIFICATES_MAX || !certificate_read(store, text, &pem, &key, error)) {
        log_warning(WHO, "%s: a certificate is left out: %s", store->save.path, error);
        return;
    }
    struct certificate *new = &store->all[store->count++];
    *new = (struct certificate){.id = (unsigned)id, .pem = pem, .key = key};
    snprintf(new->slot, sizeof new->slot, "%s", slot);
}

static void site_certificate_store_load(struct certificate_store *store)
{
    json_t *entry;
    size_t i;
    json_t *root = api_load_saved(WHO, store->save.path, "the slots' certificates are not known");
    json_array_foreach(json_object_get(root, "certificates"), i, entry) site_certificate_store_load_entry(store, entry);
    json_decref(root);
}

static json_t *certificate_entry(const struct certificate *certificate)
{
    size_t size = strlen(certificate->pem) + (certificate->key ? strlen(certificate->key) : 0) + 1;
    char *text = mem_alloc(size);
    snprintf(text, size, "%s%s", certificate->pem, certificate->key ? certificate->key : "");
    json_t *entry = json_pack("{s:s, s:i, s:s}", "slot", certificate->slot, "id", (int)certificate->id, "certificate", text);
    mem_free_secret(text);
    return entry;
}

static void save(struct certificate_store *store)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < store->count; i++)
        if (!store->keep_keys || *store->keep_keys)
            json_array_append_new(list, certificate_entry(&store->all[i]));
    json_t *root = json_pack("{s:i, s:o}", "version", VERSION, "certificates", list);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (!text)
        mem_exhausted();
    save_text(&store->save, mem_strdup(text));
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* --- looking --- */

const struct certificate *certificate_store_next(const struct certificate_store *store, const char *slot,
                                                 const struct certificate *after)
{
    const struct certificate *c = after ? after + 1 : store->all;
    while (c < store->all + store->count && strcmp(c->slot, slot) != 0)
        c++;
    return c < store->all + store->count ? c : NULL;
}

const struct certificate *certificate_store_find(const struct certificate_store *store, const char *slot,
                                                 const char *id)
{
    const struct certificate *c = NULL;
    char text[16];
    while ((c = certificate_store_next(store, slot, c)) != NULL) {
        snprintf(text, sizeof text, "%u", c->id);
        if (strcmp(text, id) == 0)
            break;
    }
    return c;
}

char *certificate_store_text(const struct certificate_store *store, const char *slot)
{
    char *text = NULL;
    size_t used = 0;
    for (const struct certificate *c = NULL; (c = certificate_store_next(store, slot, c)) != NULL;) {
        const char *key = c->key ? c->key : "";
        size_t length = strlen(c->pem) + strlen(key);
        text = mem_realloc(text, used + length + 1);
        snprintf(text + used, length + 1, "%s%s", c->pem, key);
        used += length;
    }
    return text;
}

/* --- changes --- */

/* 0, and an id that no certificate of the slot has. */
static int site_certificate_store_check_room(const struct certificate_store *store, const char *slot, const char *pem,
                                             unsigned *id)
{
    unsigned count = 0;
    *id = 1;
    for (const struct certificate *c = NULL; (c = certificate_store_next(store, slot, c)) != NULL; count++) {
        if (strcmp(c->pem, pem) == 0)
            return -EEXIST;
        *id = c->id >= *id ? c->id + 1 : *id;
    }
    unsigned most = store->keep_keys ? CERTIFICATES_OWN : CERTIFICATES_EACH;
    return count >= most || store->count >= CERTIFICATES_MAX ? -ENOSPC : 0;
}

int certificate_store_add(struct certificate_store *store, const char *slot, const char *text, unsigned *id,
                          char error[CERTIFICATE_ERROR])
{
    char *pem, *key;
    if (!certificate_read(store, text, &pem, &key, error))
        return -EINVAL;
    int status = site_certificate_store_check_room(store, slot, pem, id);
    if (status != 0) {
        mem_free(pem);
        mem_free_secret(key);
        return status;
    }
    struct certificate *new = &store->all[store->count++];
    *new = (struct certificate){.id = *id, .pem = pem, .key = key};
    snprintf(new->slot, sizeof new->slot, "%s", slot);
    save(store);
    return 0;
}

void certificate_store_remove(struct certificate_store *store, const struct certificate *certificate)
{
    size_t at = (size_t)(certificate - store->all);
    mem_free(store->all[at].pem);
    mem_free_secret(store->all[at].key);
    memmove(&store->all[at], &store->all[at + 1], (--store->count - at) * sizeof *store->all);
    save(store);
}

/* --- life --- */

struct certificate_store *certificate_store_new(uv_loop_t *loop, char *path, const bool *keep_keys)
{
    struct certificate_store *store = mem_alloc(sizeof *store);
    store->keep_keys = keep_keys;
    save_init(&store->save, loop, path, "the slots' certificates would be lost at a restart");
    site_certificate_store_load(store);
    return store;
}

static void on_saved(void *arg)
{
    struct certificate_store *store = arg;
    void (*closed)(void *arg) = store->closed;
    void *closed_arg = store->closed_arg;
    for (unsigned i = 0; i < store->count; i++) {
        mem_free(store->all[i].pem);
        mem_free_secret(store->all[i].key);
    }
    save_free(&store->save);
    mem_free(store);
    closed(closed_arg);
}

void certificate_store_close(struct certificate_store *store, void (*closed)(void *arg), void *arg)
{
    store->closed = closed;
    store->closed_arg = arg;
    save_flush(&store->save, on_saved, store);
}
