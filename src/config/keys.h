/* The table of keys: private to config/. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

/* In the order of a dump. */
enum key_section { KEY_DAEMON, KEY_WEB, KEY_DBUS, KEY_HOST, KEY_HTTP, KEY_CREDENTIALS, KEY_SLOT, KEY_SECTIONS };
enum key_type {
    KEY_BOOL, KEY_UINT, KEY_SIZE, KEY_DURATION, KEY_MODE, KEY_HEX, KEY_ENUM, KEY_SET,
    KEY_STRING, KEY_SECRET, /* from here on texts */
    KEY_ADDRESSES,          /* to listen on (net/tcp_listener.h), separated by blanks or commas */
    KEY_IMAGE,              /* where an image is (remote/image_location.h), or nothing */
    KEY_FILE, KEY_FOLDER, KEY_GROUP, /* the name of one that must be there when it is used, or nothing */
};

struct key {
    const char *name;
    enum key_section section;
    enum key_type type;
    size_t offset; /* in the section's struct */
    uint64_t min, max;
    /* Ends with NULL. KEY_ENUM: the names' values count from `min`. KEY_SET: their bits count from 0, and "none"
     * stands for no bit. */
    const char *const *names;
    const char *standard;     /* the default, as text */
    const char *help;         /* what it does, in sentences */
};

extern const struct key config_keys[];
extern const unsigned config_key_count;

/* The key of that name that may stand in the section; NULL: none. In a slot's
 * section the keys of [http] may stand too. */
const struct key *key_find(enum key_section section, const char *name);
/* The legal key nearest to a misspelt name; NULL: none is near. */
const char *key_suggest(enum key_section section, const char *name);
/* Sets the value in its struct; on failure `expected` says what was expected. */
bool key_set(const struct key *key, void *base, const char *text, char *expected, size_t size);
/* Is there what the value names, a file that can be read (an image too), a folder or a group? Else `expected` says what
 * was. Values of other types name nothing. */
bool key_probe(const struct key *key, const char *text, char *expected, size_t size);
/* The value as key_set() reads it. */
void key_get(const struct key *key, const void *base, char *out, size_t size);
bool key_equal(const struct key *key, const void *a, const void *b);
/* Gives a value that is a string its own copy in memory; other values need none. */
void key_own(const struct key *key, void *base);
void key_clear(const struct key *key, void *base);
/* Which bit of config_slot.overrides a key of [http] has. */
uint64_t key_bit(const struct key *key);

#define KEY_TEXT_MAX 16384 /* a value's longest text */

#endif
