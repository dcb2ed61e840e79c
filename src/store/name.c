#include "store/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define PART_END   ".part"
#define DIGEST_END ".sha256"

const char *store_name_problem(const char *name)
{
    uint32_t code;
    if (!*name)
        return "An image needs a name.";
    if (strnlen(name, STORE_NAME_MAX + 1) > STORE_NAME_MAX)
        return "The name of an image may have 200 bytes.";
    if (*name == '.')
        return "The name of an image may not begin with a dot.";
    for (const char *p = name; *p;) {
        size_t length = text_character(p, &code);
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

static bool store_name_take_name(const char *from, char name[STORE_NAME_MAX + 1])
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
    return store_name_take_name(inner, part->name);
}

bool store_digest_parse(const char *file, char name[STORE_NAME_MAX + 1])
{
    char inner[STORE_FILE_MAX];
    return strip(file, DIGEST_END, inner) && store_name_take_name(inner, name);
}
