/*
 * In what order TLS ciphers are wanted: all of them are strong enough, so what counts is
 * what this processor is fast at. With AES instructions that is AES-128-GCM; without them,
 * as on many BMCs, ChaCha20-Poly1305 costs a fraction of AES.
 */
#ifndef NET_CIPHERS_H
#define NET_CIPHERS_H

#include <stdbool.h>

const char *ciphers_tls13(void);       /* TLS 1.3 suites, as OpenSSL spells them */
const char *ciphers_tls12(void);       /* TLS 1.2 suites of our servers: only those with forward secrecy */
const char *ciphers_tls12_client(void); /* the same first, then whatever else OpenSSL accepts */

#endif
