#include "auth/password.h"

#include <crypt.h>
#include <stdio.h>
#include <string.h>

#include "auth/secret.h"
#include "base/text.h"

static const char crypt_alphabet[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Characters of a password, which is UTF-8: bytes that don't continue one. */
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

bool password_allowed(const char *password, unsigned min, char *why, size_t size)
{
    const char *reason = NULL;
    for (const char *p = password; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            reason = "has a control character";
    if (!*password)
        reason = "is empty";
    else if (strlen(password) > PASSWORD_MAX)
        reason = "is too long";
    if (reason)
        snprintf(why, size, "the password %s", reason);
    else if (characters(password) < min)
        snprintf(why, size, "the password is too short (%u characters at least)", min);
    else
        return true;
    return false;
}

/* The last field: `length` characters of crypt's alphabet, behind a '$'. */
static bool ends_in_hash(const char *hash, size_t length)
{
    const char *last = strrchr(hash, '$');
    return strlen(last + 1) == length && strspn(last + 1, crypt_alphabet) == length;
}

bool password_hash_valid(const char *hash)
{
    if (strlen(hash) >= PASSWORD_HASH_MAX || crypt_checksalt(hash) != CRYPT_SALT_OK)
        return false;
    if (strncmp(hash, "$y$", 3) == 0)
        return ends_in_hash(hash, 43);
    if (strncmp(hash, "$6$", 3) == 0)
        return ends_in_hash(hash, 86);
    return false;
}

/* crypt(3) into `out`; false if the setting is not one. */
static bool run_crypt(const char *password, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
    struct crypt_data *data = mem_alloc(sizeof *data);
    const char *result = crypt_rn(password, setting, data, sizeof *data);
    bool ok = result != NULL;
    if (ok)
        snprintf(out, CRYPT_OUTPUT_SIZE, "%s", result);
    explicit_bzero(data, sizeof *data);
    mem_free(data);
    return ok;
}

bool password_setting(unsigned cost, char out[PASSWORD_HASH_MAX])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], salt[16];
    secret_random(salt, sizeof salt);
    if (!crypt_gensalt_rn("$y$", cost, salt, sizeof salt, setting, sizeof setting))
        return false;
    return snprintf(out, PASSWORD_HASH_MAX, "%s", setting) < PASSWORD_HASH_MAX;
}

bool password_hash(const char *password, unsigned cost, char out[PASSWORD_HASH_MAX])
{
    char setting[PASSWORD_HASH_MAX], hash[CRYPT_OUTPUT_SIZE];
    if (!password_setting(cost, setting) || !run_crypt(password, setting, hash) || !password_hash_valid(hash))
        return false;
    memcpy(out, hash, strlen(hash) + 1);
    return true;
}

bool password_matches(const char *password, const char *hash)
{
    char result[CRYPT_OUTPUT_SIZE];
    size_t length = strlen(hash);
    return run_crypt(password, hash, result) && strlen(result) == length && secret_equal(result, hash, length);
}

void password_random(char out[PASSWORD_RANDOM_LENGTH + 1])
{
    static const char alphabet[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    const unsigned count = sizeof alphabet - 1, fair = 256 / count * count;
    for (unsigned used = 0; used < PASSWORD_RANDOM_LENGTH;) {
        unsigned char byte;
        secret_random(&byte, 1);
        if (byte < fair) /* else some letters would come more often */
            out[used++] = alphabet[byte % count];
    }
    out[PASSWORD_RANDOM_LENGTH] = '\0';
}
