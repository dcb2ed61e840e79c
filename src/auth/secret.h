/*
 * Random secrets, and what is kept of them. Randomness is the kernel's
 * (getrandom(2)); digests are SHA-256 and HMAC-SHA-256 of OpenSSL. A token is
 * 32 random bytes as 43 characters of base64url (RFC 4648, section 5), which
 * are legal in a header, a cookie, a URL and a WebSocket subprotocol.
 */
#ifndef AUTH_SECRET_H
#define AUTH_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#define SECRET_BYTES  32
#define SECRET_TEXT   44 /* 43 characters and the end */
#define SECRET_DIGEST 32

void secret_random(void *to, size_t length); /* never fails: without randomness the process ends */
void secret_token(char out[SECRET_TEXT]);
/* base64url without padding: ceil(4 * length / 3) characters and the end. */
void secret_encode(const void *bytes, size_t length, char *out);
/* SHA-256 of the text: all that is kept of a token. */
void secret_digest(const char *text, unsigned char out[SECRET_DIGEST]);

/* HMAC-SHA-256 of up to SECRET_PARTS texts, which can't run into one another.
 * Texts longer than SECRET_PART_MAX in sum give false: the peer sent nonsense. */
#define SECRET_PARTS    4
#define SECRET_PART_MAX 1024
bool secret_mac(const unsigned char key[SECRET_BYTES], const char *const *parts, size_t count,
                unsigned char out[SECRET_DIGEST]);

/* The time that this takes depends on the length only. */
bool secret_equal(const void *a, const void *b, size_t length);

#endif
