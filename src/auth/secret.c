#include "auth/secret.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

void secret_random(void *to, size_t length)
{
    unsigned char *at = to;
    while (length > 0) {
        ssize_t n = getrandom(at, length, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            fprintf(stderr, "nbd-proxy: no random numbers: %s\n", strerror(errno));
            _exit(EX_OSERR);
        }
        at += n;
        length -= (size_t)n;
    }
}

void secret_encode(const void *bytes, size_t length, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = bytes;
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < length; i++) {
        held = held << 8 | in[i];
        for (bits += 8; bits >= 6; bits -= 6)
            *out++ = alphabet[held >> (bits - 6) & 63];
    }
    if (bits > 0)
        *out++ = alphabet[held << (6 - bits) & 63];
    *out = '\0';
}

void secret_token(char out[SECRET_TEXT])
{
    unsigned char bytes[SECRET_BYTES];
    secret_random(bytes, sizeof bytes);
    secret_encode(bytes, sizeof bytes, out);
    explicit_bzero(bytes, sizeof bytes);
}

static _Noreturn void digest_failed(void)
{
    fputs("nbd-proxy: SHA-256 is not there\n", stderr);
    _exit(EX_OSERR);
}

void secret_digest(const char *text, unsigned char out[SECRET_DIGEST])
{
    if (!SHA256((const unsigned char *)text, strlen(text), out))
        digest_failed();
}

bool secret_mac(const unsigned char key[SECRET_BYTES], const char *const *parts, size_t count,
                unsigned char out[SECRET_DIGEST])
{
    char joined[SECRET_PART_MAX + SECRET_PARTS];
    size_t used = 0;
    unsigned length = SECRET_DIGEST;
    assert(count <= SECRET_PARTS);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(parts[i]) + 1; /* its end keeps it from the next */
        if (size > sizeof joined - used) {
            explicit_bzero(joined, used);
            return false;
        }
        memcpy(joined + used, parts[i], size);
        used += size;
    }
    if (!HMAC(EVP_sha256(), key, SECRET_BYTES, (const unsigned char *)joined, used, out, &length))
        digest_failed();
    explicit_bzero(joined, used);
    return true;
}

bool secret_equal(const void *a, const void *b, size_t length)
{
    return CRYPTO_memcmp(a, b, length) == 0;
}
