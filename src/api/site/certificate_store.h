/*
 * The certificates that slots trust beside those of the configuration, for the servers of
 * their images. They are kept in a file (JSON, mode 0600), by the slots' names: those of a
 * slot that is not configured any more wait for it to come back.
 *
 * What is added is one certificate in PEM and nothing else; it is kept as OpenSSL
 * writes it. A change holds at once, and is written in the background.
 */
#ifndef API_SITE_CERTIFICATE_STORE_H
#define API_SITE_CERTIFICATE_STORE_H

#include <openssl/x509.h>
#include <uv.h>

#include "config/config.h"

#define CERTIFICATES_EACH 8 /* of a slot */
#define CERTIFICATES_MAX  (2 * CONFIG_SLOTS_MAX * CERTIFICATES_EACH)
#define CERTIFICATE_MAX   (16u << 10) /* bytes in PEM */
#define CERTIFICATE_ERROR 128

struct certificate {
    char slot[CONFIG_SLOT_NAME_MAX];
    unsigned id; /* among the slot's; not given to another one while this one lasts */
    char *pem;
};

struct certificate_store;

/* Reads the file, if there is one. What is damaged is logged and left out. `path` is taken over. */
struct certificate_store *certificate_store_new(uv_loop_t *loop, char *path);
/* The slot's certificates one after the other: `after` is NULL for the first, and NULL is the end. What is given is
 * valid until the next change. */
const struct certificate *certificate_store_next(const struct certificate_store *store, const char *slot,
                                                 const struct certificate *after);
const struct certificate *certificate_store_find(const struct certificate_store *store, const char *slot,
                                                 const char *id);
/* All of the slot's certificates as one text, for mem_free(); NULL: the slot has none. */
char *certificate_store_text(const struct certificate_store *store, const char *slot);
/* 0 and the certificate's id; -EINVAL: `pem` is no certificate; -EEXIST: the slot has it; -ENOSPC: the slot has too
 * many. */
int certificate_store_add(struct certificate_store *store, const char *slot, const char *pem, unsigned *id,
                          char error[CERTIFICATE_ERROR]);
void certificate_store_remove(struct certificate_store *store, const struct certificate *certificate);
/* `closed` comes when all is written; the store is freed then. */
void certificate_store_close(struct certificate_store *store, void (*closed)(void *arg), void *arg);

/* The one certificate in a text, for X509_free(); NULL, and what is wrong. */
X509 *certificate_parse(const char *pem, char error[CERTIFICATE_ERROR]);

#endif
