/*
 * Passwords that were verified a short time ago, so that a client with HTTP Basic
 * does not cost a slow hash on each request. What is kept is an HMAC of name and
 * password under a key that is random for each process; the password itself is
 * not. An entry ends `ttl_ms` after the verification, however often it is used, and
 * at once when its account changes.
 */
#ifndef AUTH_VERIFIED_H
#define AUTH_VERIFIED_H

#include <stdbool.h>
#include <stdint.h>

#define VERIFIED_MAX 64

struct verified;

struct verified *verified_new(uint64_t ttl_ms);
void verified_free(struct verified *verified);
bool verified_has(struct verified *verified, uint64_t now, const char *name, const char *password);
/* The oldest goes when there is no room. */
void verified_add(struct verified *verified, uint64_t now, const char *name, const char *password);
void verified_drop(struct verified *verified, const char *name);

#endif
