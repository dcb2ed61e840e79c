/*
 * Passwords and their hashes, by crypt(3) of libxcrypt: new ones are yescrypt
 * ("$y$", crypt(5)), those of SHA-512 ("$6$") are read too. Hashing is slow by
 * design: password_hash() and password_matches() belong on a work thread. They
 * use no shared data and any number may run at once; each takes the memory of
 * its method (16 MiB for yescrypt at its default cost).
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#define PASSWORD_MAX           256 /* bytes of a password; a longer one never matches */
#define PASSWORD_MIN           8   /* characters of a new one, if nothing else is configured */
#define PASSWORD_HASH_MAX      192 /* room for a hash and its end */
#define PASSWORD_RANDOM_LENGTH 20  /* of a generated one: 116 bits */

/* Whether the text may be a new password; if not, `why` says why. Control characters
 * are refused: HTTP Basic can't carry them (RFC 7617, section 2). */
bool password_allowed(const char *password, unsigned min, char *why, size_t size);
/* Whether the text is a whole hash by one of the methods above. */
bool password_hash_valid(const char *hash);
/* Hashes with a fresh salt. `cost`: 0 the library's default, else yescrypt's 1 to 11. */
bool password_hash(const char *password, unsigned cost, char out[PASSWORD_HASH_MAX]);
/* A fresh setting: what a hash begins with. No password matches it, and finding that
 * out takes as long as with a hash. */
bool password_setting(unsigned cost, char out[PASSWORD_HASH_MAX]);
/* Compared in constant time. */
bool password_matches(const char *password, const char *hash);
/* Letters and digits without those that look alike. */
void password_random(char out[PASSWORD_RANDOM_LENGTH + 1]);

#endif
