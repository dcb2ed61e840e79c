#include "store/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define PART_END   ".part"
#define DIGEST_END ".sha256"

/* The character at `p` and how many bytes it has; 0: that is no UTF-8 (RFC 3629). */
static size_t next_character(const unsigned char *p, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
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

const char *store_name_problem(const char *name)
{
    uint32_t code;
    if (!*name)
        return "An image needs a name.";
    if (strnlen(name, STORE_NAME_MAX + 1) > STORE_NAME_MAX)
        return "The name of an image may have 200 bytes.";
    if (*name == '.')
        return "The name of an image may not begin with a dot.";
    for (const unsigned char *p = (const unsigned char *)name; *p;) {
        size_t length = next_character(p, &code);
        if (length == 0)
            return "The name of an image must be UTF-8.";
        if (code < 0x20 || (code >= 0x7f && code < 0xa0))
            return "The name of an image may not have control characters.";
        if (code == '/')
            return "The name of an image may not have a slash.";
        p += length;
    }
    return NULL;
}

void store_part_file(char file[STORE_FILE_MAX], const char *name, uint64_t size, const char *boot)
{
    snprintf(file, STORE_FILE_MAX, ".%.*s.%" PRIu64 "-%.*s" PART_END, STORE_NAME_MAX, name, size, STORE_BOOT, boot);
}

void store_digest_file(char file[STORE_FILE_MAX], const char *name)
{
    snprintf(file, STORE_FILE_MAX, ".%.*s" DIGEST_END, STORE_NAME_MAX, name);
}

/* What is between the dot and the end, in `inner`. */
static bool strip(const char *file, const char *end, char inner[STORE_FILE_MAX])
{
    size_t length = strlen(file), tail = strlen(end);
    if (file[0] != '.' || length >= STORE_FILE_MAX || length < tail + 2 || strcmp(file + length - tail, end) != 0)
        return false;
    memcpy(inner, file + 1, length - tail - 1);
    inner[length - tail - 1] = '\0';
    return true;
}

static bool take_name(const char *from, char name[STORE_NAME_MAX + 1])
{
    if (store_name_problem(from))
        return false;
    strcpy(name, from);
    return true;
}

bool store_part_parse(const char *file, struct store_part_name *part)
{
    char inner[STORE_FILE_MAX];
    if (!strip(file, PART_END, inner))
        return false;
    char *boot = strrchr(inner, '-');
    if (!boot)
        return false;
    *boot++ = '\0';
    char *size = strrchr(inner, '.');
    if (!size || strlen(boot) != STORE_BOOT || strspn(boot, "0123456789abcdef") != STORE_BOOT)
        return false;
    *size++ = '\0';
    if (*size == '0' || !text_parse_uint(size, &part->size) || part->size > INT64_MAX)
        return false;
    strcpy(part->boot, boot);
    return take_name(inner, part->name);
}

bool store_digest_parse(const char *file, char name[STORE_NAME_MAX + 1])
{
    char inner[STORE_FILE_MAX];
    return strip(file, DIGEST_END, inner) && take_name(inner, name);
}
