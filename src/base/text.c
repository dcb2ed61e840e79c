#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

bool text_parse_uint(const char *text, uint64_t *value)
{
    uint64_t n = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        unsigned digit = (unsigned)(*text - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *value = n;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Digits, then one of the units by name; false on overflow. */
static bool parse_with_unit(const char *text, const struct unit *units, size_t count, uint64_t *value)
{
    char digits[24];
    size_t n = strspn(text, "0123456789");
    uint64_t number;
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    if (!text_parse_uint(digits, &number))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(text + n, units[i].name) != 0)
            continue;
        if (number > UINT64_MAX / units[i].factor)
            return false;
        *value = number * units[i].factor;
        return true;
    }
    return false;
}

bool text_parse_size(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1},          {"B", 1},         {"K", 1024},       {"KiB", 1024},       {"M", 1 << 20},
        {"MiB", 1 << 20}, {"G", 1ull << 30}, {"GiB", 1ull << 30}, {"T", 1ull << 40}, {"TiB", 1ull << 40},
    };
    return parse_with_unit(text, units, sizeof units / sizeof units[0], bytes);
}

bool text_parse_duration(const char *text, uint64_t *milliseconds)
{
    static const struct unit units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}};
    return parse_with_unit(text, units, sizeof units / sizeof units[0], milliseconds);
}

bool text_parse_bool(const char *text, bool *value)
{
    static const char *const names[][2] = {{"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (int j = 0; j < 2; j++)
            if (strcasecmp(text, names[i][j]) == 0) {
                *value = j == 1;
                return true;
            }
    return false;
}

void text_size(uint64_t bytes, char out[TEXT_SIZE_MAX])
{
    static const char suffix[] = {'T', 'G', 'M', 'K'};
    for (int i = 0; i < 4; i++) {
        uint64_t factor = 1ull << (40 - 10 * i);
        if (bytes >= factor && bytes % factor == 0) {
            snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 "%c", bytes / factor, suffix[i]);
            return;
        }
    }
    snprintf(out, TEXT_SIZE_MAX, "%" PRIu64, bytes);
}

void text_duration(uint64_t milliseconds, char out[TEXT_SIZE_MAX])
{
    if (milliseconds % 1000)
        snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 "ms", milliseconds);
    else if (milliseconds >= 3600000 && milliseconds % 3600000 == 0)
        snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 "h", milliseconds / 3600000);
    else if (milliseconds >= 120000 && milliseconds % 60000 == 0)
        snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 "m", milliseconds / 60000);
    else
        snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 "s", milliseconds / 1000);
}

void text_human_size(uint64_t bytes, char out[TEXT_SIZE_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1023.95 && unit < sizeof units / sizeof units[0] - 1) {
        value /= 1024;
        unit++;
    }
    snprintf(out, TEXT_SIZE_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

size_t text_character(const char *text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    *code = p[0];
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    *code &= 0x7fu >> length;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < least[length] || surrogate || *code > 0x10ffff ? 0 : length;
}

static bool is_shown(uint32_t code)
{
    return code >= 0x20 && code != '\\' && (code < 0x7f || code >= 0xa0);
}

#define ESCAPED_MAX 9 /* both bytes of a C1 character, and the end */

/* Writes the next piece of the text as it is shown; returns how many bytes of the text the piece stands for. */
static size_t escape_next(const char *in, char piece[ESCAPED_MAX])
{
    uint32_t code;
    size_t length = text_character(in, &code), taken = length > 0 ? length : 1, used = 0;
    for (size_t i = 0; i < taken; i++) {
        if (length > 0 && is_shown(code))
            piece[used++] = in[i];
        else
            used += (size_t)snprintf(piece + used, ESCAPED_MAX - used, "\\x%02x", (unsigned char)in[i]);
    }
    piece[used] = '\0';
    return taken;
}

void text_escape(const char *in, char *out, size_t size)
{
    size_t used = 0;
    while (*in) {
        char piece[ESCAPED_MAX];
        in += escape_next(in, piece);
        size_t n = strlen(piece);
        size_t end = *in ? 4 : 1; /* room for "..." and the end */
        if (used + n + end > size) {
            if (used + 4 <= size) {
                memcpy(out + used, "...", 3);
                used += 3;
            }
            break;
        }
        memcpy(out + used, piece, n);
        used += n;
    }
    if (size > 0)
        out[used] = '\0';
}

void text_hex(const void *bytes, size_t length, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = ((const unsigned char *)bytes)[i];
        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
    *out = '\0';
}

/* Neither sscanf() nor strtol(): these take a sign and white space too. */
static int text_hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int text_percent_byte(const char *text)
{
    int high = *text == '%' ? text_hex_digit(text[1]) : -1, low = high < 0 ? -1 : text_hex_digit(text[2]);
    return low < 0 ? -1 : high << 4 | low;
}

bool text_percent_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        int byte = text_percent_byte(from);
        if (byte == 0 || (byte < 0 && *from == '%'))
            return false;
        *to++ = byte < 0 ? *from : (char)byte;
        from += byte < 0 ? 0 : 2;
    }
    *to = '\0';
    return true;
}

/* Where the authority of "scheme://authority/..." starts; NULL without one. */
/* Windows' //HOST/SHARE has one too, in either slash. */
static const char *url_authority(const char *url)
{
    const char *p = url;
    if (strncmp(url, "//", 2) == 0 || strncmp(url, "\\\\", 2) == 0)
        return url + 2;
    while (isalnum((unsigned char)*p) || *p == '+' || *p == '-' || *p == '.')
        p++;
    return p > url && strncmp(p, "://", 3) == 0 ? p + 3 : NULL;
}

void text_url_public(const char *url, char *out, size_t size)
{
    char *clean = mem_alloc(strlen(url) + 4);
    const char *authority = url_authority(url);
    size_t used = 0;
    const char *rest = url;
    if (authority) {
        size_t n = strcspn(authority, "/\\?#");
        used = (size_t)(authority - url);
        memcpy(clean, url, used);
        rest = authority;
        for (size_t i = 0; i < n; i++) /* the last @ ends the user info */
            if (authority[i] == '@')
                rest = authority + i + 1;
    }
    size_t keep = authority ? strcspn(rest, "?#") : strlen(rest);
    memcpy(clean + used, rest, keep);
    strcpy(clean + used + keep, rest[keep] == '?' ? "?..." : "");
    text_escape(clean, out, size);
    mem_free_secret(clean);
}

void text_url_name(const char *url, char *out, size_t size)
{
    const char *authority = url_authority(url);
    const char *path = authority ? authority + strcspn(authority, "/\\?#") : url;
    const char *separators = *url == '\\' ? "/\\" : "/";
    size_t length = authority ? strcspn(path, "?#") : strlen(path);
    while (length > 0 && strchr(separators, path[length - 1]))
        length--;
    size_t start = length;
    while (start > 0 && !strchr(separators, path[start - 1]))
        start--;
    char *name = mem_alloc(length - start + 1);
    memcpy(name, path + start, length - start);
    text_escape(name, out, size);
    mem_free(name);
}

uint64_t text_hash(uint64_t start, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        start = (start ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3ull;
    return start;
}

void mem_exhausted(void)
{
    fputs("nbd-proxy: out of memory\n", stderr);
    _exit(EX_OSERR); /* devices and gadgets stay, as at a crash: the next start goes on with them */
}

void *mem_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        mem_exhausted();
    return memory;
}

void *mem_realloc(void *old, size_t size)
{
    void *memory = realloc(old, size ? size : 1);
    if (!memory)
        mem_exhausted();
    return memory;
}

char *mem_strdup(const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}

char *mem_strdup_nonempty(const char *text)
{
    return text && *text ? mem_strdup(text) : NULL;
}

void mem_free(void *memory)
{
    free(memory);
}

void mem_free_secret(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}
