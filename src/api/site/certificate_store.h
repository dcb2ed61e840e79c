/*
 * The certificates of slots, for the servers of their images: in one store those that are trusted beside those of the
 * configuration, in another one those that we show, which have their keys. They are kept in a file (JSON, mode 0600),
 * by the slots' names: those of a slot that is not configured any more wait for it to come back. Those with a key are
 * only written to it when the configuration allows it (state-secrets).
 *
 * What is added is one certificate in PEM, with its key or without one, and nothing else; it is kept as OpenSSL
 * writes it. A change holds at once, and is written in the background.
 */
#ifndef API_SITE_CERTIFICATE_STORE_H
#define API_SITE_CERTIFICATE_STORE_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <uv.h>

#include "config/config.h"

#define CERTIFICATES_EACH 8 /* of a slot, that are trusted */
#define CERTIFICATES_OWN  1 /* of a slot, that we show */
#define CERTIFICATES_MAX  (2 * CONFIG_SLOTS_MAX * CERTIFICATES_EACH)
#define CERTIFICATE_MAX   (16u << 10) /* bytes in PEM */
#define CERTIFICATE_ERROR 128

struct certificate {
    char slot[CONFIG_SLOT_NAME_MAX];
    unsigned id; /* among the slot's; not given to another one while this one lasts */
    char *pem;
    char *key; /* in PEM; NULL: it is one that is trusted */
};

struct certificate_store;

/* Reads the file, if there is one. What is damaged is logged and left out. `path` is taken over. `keep_keys`: NULL for a
 * store of certificates that are trusted, else whether those with keys are written now; it must outlive the store. */
struct certificate_store *certificate_store_new(uv_loop_t *loop, char *path, const bool *keep_keys);
/* The slot's certificates one after the other: `after` is NULL for the first, and NULL is the end. What is given is
 * valid until the next change. */
const struct certificate *certificate_store_next(const struct certificate_store *store, const char *slot,
                                                 const struct certificate *after);
const struct certificate *certificate_store_find(const struct certificate_store *store, const char *slot,
                                                 const char *id);
/* All of the slot's certificates, and their keys, as one text, for mem_free_secret(); NULL: the slot has none. */
char *certificate_store_text(const struct certificate_store *store, const char *slot);
/* 0 and the certificate's id; -EINVAL: `pem` is no certificate, or has not the key that it should have; -EEXIST: the slot has it; -ENOSPC: the slot has too
 * many. */
int certificate_store_add(struct certificate_store *store, const char *slot, const char *pem, unsigned *id,
                          char error[CERTIFICATE_ERROR]);
void certificate_store_remove(struct certificate_store *store, const struct certificate *certificate);
/* `closed` comes when all is written; the store is freed then. */
void certificate_store_close(struct certificate_store *store, void (*closed)(void *arg), void *arg);

/* The one certificate in a text with one key, for mem_free(), and that key, for mem_free_secret(), as OpenSSL writes
 * them. False, and what is wrong. */
bool certificate_pair(const char *text, char **pem, char **key, char error[CERTIFICATE_ERROR]);
/* The one certificate in a text, for X509_free(); NULL, and what is wrong. */
X509 *certificate_parse(const char *pem, char error[CERTIFICATE_ERROR]);

#endif
