#include "auth/verified.h"

#include <stdio.h>
#include <string.h>

#include "auth/secret.h"
#include "auth/users_file.h"
#include "base/text.h"

struct entry {
    char name[USER_NAME_MAX + 1]; /* "": free */
    unsigned char mac[SECRET_DIGEST];
    uint64_t ends_at;
};

struct verified {
    unsigned char key[SECRET_BYTES];
    uint64_t ttl_ms;
    struct entry entries[VERIFIED_MAX];
};

struct verified *verified_new(uint64_t ttl_ms)
{
    struct verified *verified = mem_alloc(sizeof *verified);
    verified->ttl_ms = ttl_ms;
    secret_random(verified->key, sizeof verified->key);
    return verified;
}

void verified_free(struct verified *verified)
{
    explicit_bzero(verified, sizeof *verified);
    mem_free(verified);
}

static void drop(struct entry *entry)
{
    explicit_bzero(entry, sizeof *entry);
}

static bool make_mac(const struct verified *verified, const char *name, const char *password,
                     unsigned char mac[SECRET_DIGEST])
{
    const char *parts[] = {name, password};
    return secret_mac(verified->key, parts, 2, mac);
}

bool verified_has(struct verified *verified, uint64_t now, const char *name, const char *password)
{
    unsigned char mac[SECRET_DIGEST];
    if (!make_mac(verified, name, password, mac))
        return false;
    for (unsigned i = 0; i < VERIFIED_MAX; i++) {
        struct entry *entry = &verified->entries[i];
        if (*entry->name && entry->ends_at <= now)
            drop(entry);
        if (*entry->name && secret_equal(entry->mac, mac, sizeof mac))
            return true;
    }
    return false;
}

void verified_add(struct verified *verified, uint64_t now, const char *name, const char *password)
{
    struct entry *to = &verified->entries[0]; /* the oldest: a free one is older than all */
    unsigned char mac[SECRET_DIGEST];
    if (verified->ttl_ms == 0 || verified_has(verified, now, name, password) ||
        !make_mac(verified, name, password, mac))
        return;
    for (unsigned i = 0; i < VERIFIED_MAX; i++)
        if (verified->entries[i].ends_at < to->ends_at)
            to = &verified->entries[i];
    snprintf(to->name, sizeof to->name, "%s", name);
    memcpy(to->mac, mac, sizeof mac);
    to->ends_at = now + verified->ttl_ms;
}

void verified_drop(struct verified *verified, const char *name)
{
    for (unsigned i = 0; i < VERIFIED_MAX; i++)
        if (strcmp(verified->entries[i].name, name) == 0)
            drop(&verified->entries[i]);
}
