#include "auth/lockout.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/secret.h"
#include "base/text.h"

#define KEY_BYTES 16
#define LEVEL_MAX 20

struct entry {
    unsigned char key[KEY_BYTES];
    uint64_t locked_until;
    uint64_t forget_at;
    unsigned failures; /* since the last lock */
    unsigned level;    /* locks so far */
    unsigned pending;  /* tries under way; an entry that has any is kept */
    unsigned share;    /* of a pair: how many of the address's failures are this pair's */
    uint64_t home_until; /* of a pair: the account is at home there */
};

struct lockout {
    struct lockout_options options;
    unsigned char secret[SECRET_BYTES];
    unsigned count;
    struct entry entries[LOCKOUT_ENTRIES];
};

/* The keys of the entries in which one try counts. */
struct keys {
    unsigned char pair[KEY_BYTES], address[KEY_BYTES], account[KEY_BYTES];
};

struct lockout *lockout_new(const struct lockout_options *options)
{
    struct lockout *lockout = mem_alloc(sizeof *lockout);
    struct lockout_options *o = &lockout->options;
    *o = *options;
    o->failures = o->failures ? o->failures : 5;
    o->address_failures = o->address_failures ? o->address_failures : 20;
    o->account_failures = o->account_failures ? o->account_failures : 20;
    o->lock_ms = o->lock_ms ? o->lock_ms : 30000;
    o->lock_max_ms = o->lock_max_ms ? o->lock_max_ms : 900000;
    o->home_ms = o->home_ms ? o->home_ms : 300000;
    secret_random(lockout->secret, sizeof lockout->secret);
    return lockout;
}

void lockout_free(struct lockout *lockout)
{
    explicit_bzero(lockout->secret, sizeof lockout->secret);
    mem_free(lockout);
}

/* --- keys --- */

/* The form in which an address is counted; what is no address (a UNIX socket's peer) stays as it is. */
static void address_group(const char *peer, char out[INET6_ADDRSTRLEN])
{
    struct in6_addr six;
    char plain[INET6_ADDRSTRLEN];
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(peer, "%"), peer); /* without "%eth0" */
    if (inet_pton(AF_INET6, plain, &six) != 1) {
        memcpy(out, plain, sizeof plain);
    } else if (IN6_IS_ADDR_V4MAPPED(&six)) {
        inet_ntop(AF_INET, &six.s6_addr[12], out, INET6_ADDRSTRLEN);
    } else {
        memset(&six.s6_addr[8], 0, 8);
        inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN);
    }
}

bool lockout_same_address(const char *peer, const char *other)
{
    char one[INET6_ADDRSTRLEN], two[INET6_ADDRSTRLEN];
    address_group(peer, one);
    address_group(other, two);
    return strcmp(one, two) == 0;
}

static void make_key(const struct lockout *lockout, const char *kind, const char *name, const char *address,
                     unsigned char key[KEY_BYTES])
{
    unsigned char digest[SECRET_DIGEST];
    const char *parts[] = {kind, name, address};
    secret_mac(lockout->secret, parts, 3, digest);
    memcpy(key, digest, KEY_BYTES);
}

static void make_keys(const struct lockout *lockout, const char *name, const char *peer, struct keys *keys)
{
    char address[INET6_ADDRSTRLEN];
    address_group(peer, address);
    make_key(lockout, "pair", name, address, keys->pair);
    make_key(lockout, "address", "", address, keys->address);
    make_key(lockout, "account", name, "", keys->account);
}

/* --- entries --- */

static bool lockout_is_forgotten(const struct entry *entry, uint64_t now)
{
    return entry->pending == 0 && entry->forget_at <= now;
}

static void entry_drop(struct lockout *lockout, struct entry *entry)
{
    *entry = lockout->entries[--lockout->count];
}

static struct entry *lockout_find(struct lockout *lockout, uint64_t now, const unsigned char key[KEY_BYTES])
{
    for (unsigned i = 0; i < lockout->count; i++) {
        struct entry *entry = &lockout->entries[i];
        if (memcmp(entry->key, key, KEY_BYTES) != 0)
            continue;
        if (!lockout_is_forgotten(entry, now))
            return entry;
        entry_drop(lockout, entry);
        return NULL;
    }
    return NULL;
}

static bool is_before(const struct entry *a, const struct entry *b, uint64_t now)
{
    bool home = a->home_until > now, other = b->home_until > now;
    return home != other ? other : a->forget_at < b->forget_at;
}

/* Room for one more: see the header. Entries with a try under way are few, far
 * fewer than there is room for. */
static void lockout_make_room(struct lockout *lockout, uint64_t now)
{
    struct entry *oldest = NULL;
    for (unsigned i = 0; i < lockout->count; i++) {
        struct entry *entry = &lockout->entries[i];
        if (entry->pending == 0 && (!oldest || is_before(entry, oldest, now)))
            oldest = entry;
    }
    if (oldest)
        entry_drop(lockout, oldest);
}

/* NULL only when every entry has a try under way. */
static struct entry *find_or_add(struct lockout *lockout, uint64_t now, const unsigned char key[KEY_BYTES])
{
    struct entry *entry = lockout_find(lockout, now, key);
    if (entry)
        return entry;
    if (lockout->count == LOCKOUT_ENTRIES)
        lockout_make_room(lockout, now);
    if (lockout->count == LOCKOUT_ENTRIES)
        return NULL;
    entry = &lockout->entries[lockout->count++];
    memset(entry, 0, sizeof *entry);
    memcpy(entry->key, key, KEY_BYTES);
    return entry;
}

/* --- tries --- */

static uint64_t lock_left(const struct entry *entry, uint64_t now)
{
    return entry && entry->locked_until > now ? entry->locked_until - now : 0;
}

static bool is_home(struct lockout *lockout, uint64_t now, const struct keys *keys)
{
    const struct entry *pair = lockout_find(lockout, now, keys->pair);
    return pair && pair->home_until > now;
}

/* How many tries may fail before the account is locked for the address. */
static unsigned allowance(struct lockout *lockout, uint64_t now, const struct keys *keys, bool at_home)
{
    const struct entry *account = lockout_find(lockout, now, keys->account);
    bool guarded = account && account->failures >= lockout->options.account_failures;
    return guarded && !at_home ? 1 : lockout->options.failures;
}

int lockout_admit(struct lockout *lockout, uint64_t now, const char *name, const char *peer, bool at_home,
                  uint64_t *retry_ms)
{
    struct keys keys;
    make_keys(lockout, name, peer, &keys);
    at_home = at_home || is_home(lockout, now, &keys);
    unsigned allowed = allowance(lockout, now, &keys, at_home);
    const struct entry *address = lockout_find(lockout, now, keys.address);
    uint64_t address_left = at_home ? 0 : lock_left(address, now);
    bool address_full = !at_home && address && address->pending >= LOCKOUT_ADDRESS_PENDING;
    const struct entry *pair = lockout_find(lockout, now, keys.pair); /* the last find(): it may move entries */
    uint64_t pair_left = lock_left(pair, now);
    *retry_ms = pair_left > address_left ? pair_left : address_left;
    if (*retry_ms > 0)
        return -EAGAIN;
    if (address_full || (pair && pair->pending > 0 && pair->failures + pair->pending >= allowed))
        return -EBUSY;
    return 0;
}

static void add_pending(struct lockout *lockout, uint64_t now, const unsigned char key[KEY_BYTES])
{
    struct entry *entry = find_or_add(lockout, now, key);
    if (entry)
        entry->pending++;
}

void lockout_begin(struct lockout *lockout, uint64_t now, const char *name, const char *peer)
{
    struct keys keys;
    make_keys(lockout, name, peer, &keys);
    add_pending(lockout, now, keys.pair);
    add_pending(lockout, now, keys.address);
}

static void drop_pending(struct lockout *lockout, uint64_t now, const unsigned char key[KEY_BYTES])
{
    struct entry *entry = lockout_find(lockout, now, key);
    if (entry && entry->pending > 0)
        entry->pending--;
}

static void drop_both(struct lockout *lockout, uint64_t now, const struct keys *keys)
{
    drop_pending(lockout, now, keys->pair);
    drop_pending(lockout, now, keys->address);
}

/* Counts a failure; returns the length of the lock that it brings, or 0. */
static uint64_t count_failure(struct lockout *lockout, uint64_t now, const unsigned char key[KEY_BYTES], unsigned limit)
{
    const struct lockout_options *o = &lockout->options;
    struct entry *entry = find_or_add(lockout, now, key);
    uint64_t length = 0;
    if (!entry)
        return 0;
    entry->failures++;
    if (entry->failures >= limit) {
        length = o->lock_ms << (entry->level < LEVEL_MAX ? entry->level : LEVEL_MAX);
        length = length < o->lock_max_ms ? length : o->lock_max_ms;
        entry->level++;
        entry->failures = 0;
        entry->locked_until = now + length;
    }
    uint64_t from = entry->locked_until > now ? entry->locked_until : now;
    entry->forget_at = from + 2 * o->lock_max_ms; /* longer than anybody is at home */
    return length;
}

/* The account is at home at this address now, and its earlier failures there are taken back. */
static void settle(struct lockout *lockout, uint64_t now, const struct keys *keys)
{
    struct entry *pair = find_or_add(lockout, now, keys->pair);
    unsigned share = 0;
    if (pair) {
        share = pair->share;
        pair->failures = pair->level = pair->share = 0;
        pair->locked_until = 0;
        pair->home_until = pair->forget_at = now + lockout->options.home_ms;
    }
    struct entry *address = lockout_find(lockout, now, keys->address);
    if (address)
        address->failures -= share < address->failures ? share : address->failures;
}

/* Counts a failure of the pair and of the address, and remembers how many of the address's failures are the pair's. */
static void count_both(struct lockout *lockout, uint64_t now, const struct keys *keys, unsigned allowed,
                       struct lockout_result *result)
{
    result->account_ms = count_failure(lockout, now, keys->pair, allowed);
    result->address_ms = count_failure(lockout, now, keys->address, lockout->options.address_failures);
    struct entry *pair = lockout_find(lockout, now, keys->pair);
    if (pair)
        pair->share = result->address_ms > 0 ? 0 : pair->share + 1;
}

struct lockout_result lockout_end(struct lockout *lockout, uint64_t now, const char *name, const char *peer,
                                  bool matched)
{
    struct keys keys;
    struct lockout_result result = {0};
    make_keys(lockout, name, peer, &keys);
    unsigned allowed = allowance(lockout, now, &keys, is_home(lockout, now, &keys));
    if (matched) {
        settle(lockout, now, &keys);
    } else {
        count_both(lockout, now, &keys, allowed, &result);
        count_failure(lockout, now, keys.account, UINT32_MAX); /* it is guarded, never locked */
    }
    drop_both(lockout, now, &keys);
    return result;
}

void lockout_abandon(struct lockout *lockout, uint64_t now, const char *name, const char *peer)
{
    struct keys keys;
    make_keys(lockout, name, peer, &keys);
    drop_both(lockout, now, &keys);
}

void lockout_clear(struct lockout *lockout, uint64_t now, const char *name, const char *peer)
{
    struct keys keys;
    make_keys(lockout, name, peer, &keys);
    settle(lockout, now, &keys);
}
