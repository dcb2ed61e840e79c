/*
 * Small text helpers: parsing of sizes and durations as people write them, and
 * the way back. Parsers take the whole string or fail; nothing is truncated.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_SIZE_MAX 24 /* room for what text_size() and text_duration() write */

/* "65536", "64K", "64KiB", "4M", "1G", "1T" (powers of 1024). */
bool text_parse_size(const char *text, uint64_t *bytes);
/* "1500ms", "25s", "2m", "1h"; a bare number is seconds. */
bool text_parse_duration(const char *text, uint64_t *milliseconds);
bool text_parse_uint(const char *text, uint64_t *value); /* decimal digits only */
bool text_parse_bool(const char *text, bool *value);     /* yes/no, true/false, on/off, 1/0 */

/* The shortest exact form that the parsers above read back: "64M", "25s". */
void text_size(uint64_t bytes, char out[TEXT_SIZE_MAX]);
void text_duration(uint64_t milliseconds, char out[TEXT_SIZE_MAX]);
/* For people, rounded: "1.4 GiB" (powers of 1024, as in the configuration and on the page). */
void text_human_size(uint64_t bytes, char out[TEXT_SIZE_MAX]);

/* The character at `text` and how many bytes it has; 0: the bytes there are no UTF-8 (RFC 3629).
 * Never looks beyond a zero byte. */
size_t text_character(const char *text, uint32_t *code);
/* Copies with control characters (C0, DEL, and C1, which terminals obey too), backslash and bytes
 * that are no UTF-8 as \xNN; cut to fit between characters, with "...". */
void text_escape(const char *in, char *out, size_t size);
/* Two lower-case digits for each byte; `out` has room for them and the end. */
void text_hex(const void *bytes, size_t length, char *out);
/* The byte that %XX at `text` stands for (RFC 3986, 2.1); -1: no percent sign with two hexadecimal digits is there. */
int text_percent_byte(const char *text);
/* Decodes every %XX in place. False, with `text` half done: a percent sign begins no %XX, or a %XX stands for a
 * zero byte. */
bool text_percent_decode(char *text);
/* Copies a URL without its user and password, and with the values of the query
 * replaced ("?..."): what may be shown and logged. */
void text_url_public(const char *url, char *out, size_t size);
/* The last path segment of a URL or path, without query and fragment; "" if none. */
void text_url_name(const char *url, char *out, size_t size);

/* FNV-1a, to tell things apart and to find damage; no protection against intent. Begin
 * with TEXT_HASH_START, or with the hash of what comes before. */
#define TEXT_HASH_START 0xcbf29ce484222325ull
uint64_t text_hash(uint64_t start, const void *bytes, size_t length);

/* malloc and friends that end the process with a clear message when there is no
 * memory; sizes come only from the program, never unchecked from a peer. */
_Noreturn void mem_exhausted(void);
void *mem_alloc(size_t size); /* zeroed */
void *mem_realloc(void *old, size_t size);
char *mem_strdup(const char *text); /* NULL gives NULL */
char *mem_strdup_nonempty(const char *text); /* NULL and "" give NULL */
void mem_free(void *memory);
/* Overwrites a secret, then frees it. */
void mem_free_secret(char *secret);

#endif
