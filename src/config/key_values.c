/* A key's value, as text and in its struct. See config/keys.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "config/keys.h"
#include "net/group.h"
#include "net/tcp_listener.h"
#include "remote/image_location.h"

static void *field(const struct key *key, void *base)
{
    return (char *)base + key->offset;
}

static bool expect(char *expected, size_t size, const char *text)
{
    snprintf(expected, size, "%s", text);
    return false;
}

static bool expect_range(const struct key *key, char *expected, size_t size)
{
    char low[TEXT_SIZE_MAX], high[TEXT_SIZE_MAX];
    if (key->type == KEY_SIZE) {
        text_size(key->min, low);
        text_size(key->max, high);
        snprintf(expected, size, "a size from %s to %s, like %s", low, high, key->standard);
    } else if (key->type == KEY_DURATION) {
        text_duration(key->min, low);
        text_duration(key->max, high);
        snprintf(expected, size, "a time from %s to %s, like %s", low, high, key->standard);
    } else {
        snprintf(expected, size, "a whole number from %" PRIu64 " to %" PRIu64, key->min, key->max);
    }
    return false;
}

static bool set_number(const struct key *key, uint64_t *to, const char *text, char *expected, size_t size)
{
    uint64_t value;
    bool good = key->type == KEY_SIZE       ? text_parse_size(text, &value)
                : key->type == KEY_DURATION ? text_parse_duration(text, &value)
                                            : text_parse_uint(text, &value);
    if (!good || value < key->min || value > key->max)
        return expect_range(key, expected, size);
    *to = value;
    return true;
}

static bool set_mode(uint64_t *to, const char *text, char *expected, size_t size)
{
    unsigned value = 0;
    size_t length = strlen(text);
    if (length < 3 || length > 4 || strspn(text, "01234567") != length || sscanf(text, "%o", &value) != 1 || value > 0777)
        return expect(expected, size, "an octal mode, like 0600 or 0660");
    *to = value;
    return true;
}

static bool set_hex(const struct key *key, uint64_t *to, const char *text, char *expected, size_t size)
{
    size_t length = strlen(text);
    uint64_t value = 0;
    if (strncmp(text, "0x", 2) != 0 || length < 3 || length > 10 || strspn(text + 2, "0123456789abcdefABCDEF") != length - 2 ||
        (value = strtoull(text + 2, NULL, 16)) > key->max) {
        snprintf(expected, size, "a hexadecimal number from 0x0000 to 0x%04" PRIx64 ", like %s", key->max, key->standard);
        return false;
    }
    *to = value;
    return true;
}

static bool set_enum(const struct key *key, int *to, const char *text, char *expected, size_t size)
{
    size_t used = 0;
    *expected = '\0';
    for (int i = 0; key->names[i]; i++) {
        if (strcmp(key->names[i], text) == 0) {
            *to = (int)key->min + i;
            return true;
        }
        used += (size_t)snprintf(expected + used, size - used, "%s%s", i ? ", " : key->names[1] ? "one of " : "", key->names[i]);
    }
    return false;
}

static bool set_string(const struct key *key, char **to, const char *text, char *expected, size_t size)
{
    size_t length = strlen(text);
    if (length < key->min || length > key->max) {
        snprintf(expected, size, "a text of %" PRIu64 " to %" PRIu64 " characters", key->min, key->max);
        return false;
    }
    mem_free_secret(*to);
    *to = mem_strdup(text);
    return true;
}

static bool set_addresses(const struct key *key, char **to, const char *text, char *expected, size_t size)
{
    char *copy = mem_strdup(text), *rest;
    bool good = true;
    for (char *word = strtok_r(copy, " ,\t", &rest); word && good; word = strtok_r(NULL, " ,\t", &rest)) {
        good = tcp_address_is_written(word);
        if (!good)
            snprintf(expected, size, "addresses with ports, like [::]:443, 127.0.0.1:8080 or unix:/PATH (\"%.100s\" is none)",
                     word);
    }
    mem_free(copy);
    return good && set_string(key, to, text, expected, size);
}

static bool set_image(const struct key *key, char **to, const char *text, char *expected, size_t size)
{
    if (*text && location_kind(text) == LOCATION_UNKNOWN)
        return expect(expected, size, "an absolute path, or a URL that begins with https://, http://, sftp://, ftps://, ftp://, "
                                      "nfs:// or smb://");
    return set_string(key, to, text, expected, size);
}

static bool expect_words(const struct key *key, char *expected, size_t size)
{
    size_t used = (size_t)snprintf(expected, size, "words out of");
    for (int i = 0; key->names[i]; i++)
        used += (size_t)snprintf(expected + used, size - used, "%s %s", i ? "," : "", key->names[i]);
    snprintf(expected + used, size - used, ", or none");
    return false;
}

static bool set_words(const struct key *key, uint64_t *to, const char *text, char *expected, size_t size)
{
    uint64_t bits = 0;
    bool none = strcmp(text, "none") == 0;
    for (text += strspn(text, " ,\t"); *text && !none; text += strspn(text, " ,\t")) {
        size_t length = strcspn(text, " ,\t");
        int i = 0;
        while (key->names[i] && (strlen(key->names[i]) != length || strncmp(key->names[i], text, length) != 0))
            i++;
        if (!key->names[i])
            return expect_words(key, expected, size);
        bits |= 1ull << i;
        text += length;
    }
    if (!bits && !none)
        return expect_words(key, expected, size);
    *to = bits;
    return true;
}

static void get_words(const struct key *key, uint64_t bits, char *out, size_t size)
{
    size_t used = 0;
    snprintf(out, size, "none");
    for (int i = 0; key->names[i]; i++)
        if (bits & 1ull << i)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "", key->names[i]);
}

bool key_set(const struct key *key, void *base, const char *text, char *expected, size_t size)
{
    void *to = field(key, base);
    switch (key->type) {
    case KEY_BOOL:
        return text_parse_bool(text, to) || expect(expected, size, "yes or no");
    case KEY_UINT:
    case KEY_SIZE:
    case KEY_DURATION:
        return set_number(key, to, text, expected, size);
    case KEY_MODE:
        return set_mode(to, text, expected, size);
    case KEY_HEX:
        return set_hex(key, to, text, expected, size);
    case KEY_ENUM:
        return set_enum(key, to, text, expected, size);
    case KEY_SET:
        return set_words(key, to, text, expected, size);
    case KEY_STRING:
    case KEY_SECRET:
    case KEY_FILE:
    case KEY_FOLDER:
    case KEY_GROUP:
        return set_string(key, to, text, expected, size);
    case KEY_ADDRESSES:
        return set_addresses(key, to, text, expected, size);
    case KEY_IMAGE:
        return set_image(key, to, text, expected, size);
    }
    return false;
}

static bool probe_file(const char *path, char *expected, size_t size)
{
    struct stat st;
    if (access(path, R_OK) == 0 && stat(path, &st) == 0 && (!S_ISDIR(st.st_mode) || (errno = EISDIR, false)))
        return true;
    snprintf(expected, size, "a file that can be read: %s", strerror(errno));
    return false;
}

static bool probe_folder(const char *path, char *expected, size_t size)
{
    struct stat st;
    if (stat(path, &st) == 0 && (S_ISDIR(st.st_mode) || (errno = ENOTDIR, false)) && access(path, R_OK | X_OK) == 0)
        return true;
    snprintf(expected, size, "a folder that can be read: %s", strerror(errno));
    return false;
}

bool key_probe(const struct key *key, const char *text, char *expected, size_t size)
{
    gid_t gid;
    if (!*text)
        return true;
    if (key->type == KEY_GROUP)
        return group_find(text, &gid) == 0 || expect(expected, size, "a group that is there");
    if (key->type == KEY_FOLDER)
        return probe_folder(text, expected, size);
    bool file = key->type == KEY_FILE || (key->type == KEY_IMAGE && location_kind(text) == LOCATION_PATH && *text == '/');
    return !file || probe_file(text, expected, size);
}

void key_get(const struct key *key, const void *base, char *out, size_t size)
{
    const void *from = (const char *)base + key->offset;
    char number[TEXT_SIZE_MAX];
    switch (key->type) {
    case KEY_BOOL:
        snprintf(out, size, "%s", *(const bool *)from ? "yes" : "no");
        return;
    case KEY_UINT:
        snprintf(out, size, "%" PRIu64, *(const uint64_t *)from);
        return;
    case KEY_SIZE:
        text_size(*(const uint64_t *)from, number);
        snprintf(out, size, "%s", number);
        return;
    case KEY_DURATION:
        text_duration(*(const uint64_t *)from, number);
        snprintf(out, size, "%s", number);
        return;
    case KEY_MODE:
        snprintf(out, size, "%04o", (unsigned)*(const uint64_t *)from);
        return;
    case KEY_HEX:
        snprintf(out, size, "0x%04x", (unsigned)*(const uint64_t *)from);
        return;
    case KEY_ENUM:
        snprintf(out, size, "%s", key->names[*(const int *)from - (int)key->min]);
        return;
    case KEY_SET:
        get_words(key, *(const uint64_t *)from, out, size);
        return;
    case KEY_STRING:
    case KEY_SECRET:
    case KEY_ADDRESSES:
    case KEY_FILE:
    case KEY_FOLDER:
    case KEY_GROUP:
    case KEY_IMAGE:
        snprintf(out, size, "%s", *(char *const *)from ? *(char *const *)from : "");
        return;
    }
}

bool key_equal(const struct key *key, const void *a, const void *b)
{
    char *one = mem_alloc(KEY_TEXT_MAX), *two = mem_alloc(KEY_TEXT_MAX);
    key_get(key, a, one, KEY_TEXT_MAX);
    key_get(key, b, two, KEY_TEXT_MAX);
    bool equal = strcmp(one, two) == 0;
    mem_free_secret(one);
    mem_free_secret(two);
    return equal;
}

static bool is_text(const struct key *key)
{
    return key->type >= KEY_STRING;
}

void key_own(const struct key *key, void *base)
{
    char **text = field(key, base);
    if (is_text(key))
        *text = mem_strdup(*text);
}

void key_clear(const struct key *key, void *base)
{
    char **text = field(key, base);
    if (!is_text(key))
        return;
    mem_free_secret(*text);
    *text = NULL;
}
