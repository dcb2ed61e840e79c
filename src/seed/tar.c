/*
 * A config medium's files from a tar: POSIX's ustar, and of its extensions the long names of pax (POSIX.1-2017, pax,
 * "Extended Header") and of GNU. See seed/files.h. Links, devices and the like are refused: a medium without them would
 * not be what was meant.
 *
 * By hand, because libarchive brings ICU, libxml2 and libstdc++ along: 2.1 MiB of resident memory in a daemon that has
 * 12, for a format of blocks of 512 bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "seed/files.h"
#include "seed/say.h"

#define TAR_BLOCK    512u
#define TAR_NAME     0u /* offsets and lengths of a header's fields */
#define TAR_NAME_MAX 100u
#define TAR_SIZE     124u
#define TAR_SUM      148u
#define TAR_SUM_MAX  8u
#define TAR_TYPE     156u
#define TAR_MAGIC    257u
#define TAR_PREFIX   345u
#define TAR_PREFIX_MAX 155u
#define TAR_PATH_MAX 1024u

struct tar {
    const unsigned char *text;
    size_t length, at;
    char path[TAR_PATH_MAX]; /* the next file's, where a header before it tells; "": it does not */
    struct seed_files *files;
    char *error;
};

static bool tar_damaged(struct tar *tar)
{
    return seed_say(tar->error, "the tar of the config medium's files is damaged, or cut short");
}

/* --- a header --- */

/* Octal digits, with blanks or zero bytes around them; -1: it is none, or larger than a medium's files may be. */
static long tar_number(const unsigned char *field, size_t length)
{
    long value = 0;
    size_t i = 0;
    while (i < length && field[i] == ' ')
        i++;
    for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
        if ((value = value * 8 + field[i] - '0') > (long)SEED_TEXT_MAX)
            return -1;
    return i == length || field[i] == ' ' || field[i] == '\0' ? value : -1;
}

static bool tar_sum_is_right(const unsigned char *header)
{
    long sum = 0;
    for (unsigned i = 0; i < TAR_BLOCK; i++)
        sum += i >= TAR_SUM && i < TAR_SUM + TAR_SUM_MAX ? ' ' : header[i];
    return tar_number(header + TAR_SUM, TAR_SUM_MAX) == sum;
}

static bool tar_is_end(const unsigned char *header)
{
    for (unsigned i = 0; i < TAR_BLOCK; i++)
        if (header[i])
            return false;
    return true;
}

static void tar_put(char path[TAR_PATH_MAX], const void *text, size_t most)
{
    size_t used = strlen(path), length = strnlen(text, most);
    if (length > TAR_PATH_MAX - 1 - used)
        length = TAR_PATH_MAX - 1 - used; /* longer than a name may be in any case */
    memcpy(path + used, text, length);
    path[used + length] = '\0';
}

static const char *tar_path(struct tar *tar, const unsigned char *header)
{
    if (!*tar->path) {
        bool ustar = memcmp(header + TAR_MAGIC, "ustar", 6) == 0; /* with its zero byte: GNU's has other fields there */
        if (ustar && header[TAR_PREFIX]) {
            tar_put(tar->path, header + TAR_PREFIX, TAR_PREFIX_MAX);
            tar_put(tar->path, "/", 1);
        }
        tar_put(tar->path, header + TAR_NAME, TAR_NAME_MAX);
    }
    const char *path = tar->path;
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    return path;
}

/* --- pax --- */

/* "LENGTH KEY=VALUE\n" at `record`, of which `rest` bytes are there; its length, or 0: there is none. */
static size_t pax_length(const char *record, size_t rest)
{
    size_t length = 0, i = 0;
    for (; i < rest && record[i] >= '0' && record[i] <= '9' && length <= rest; i++)
        length = length * 10 + (size_t)(record[i] - '0');
    bool good = i > 0 && i < rest && record[i] == ' ' && length > i + 1 && length <= rest && record[length - 1] == '\n';
    return good ? length : 0;
}

static bool pax_take(struct tar *tar, const char *record, size_t length)
{
    const char *key = (const char *)memchr(record, ' ', length) + 1, *end = record + length - 1;
    const char *value = memchr(key, '=', (size_t)(end - key));
    if (!value)
        return tar_damaged(tar);
    size_t named = (size_t)(value++ - key);
    if (named == 4 && memcmp(key, "path", 4) == 0) {
        *tar->path = '\0';
        tar_put(tar->path, value, (size_t)(end - value));
    } else if ((named == 4 && memcmp(key, "size", 4) == 0) || (named >= 10 && memcmp(key, "GNU.sparse", 10) == 0)) {
        return seed_say(tar->error, "the tar has a file that is sparse, or larger than a medium's files may be");
    }
    return true;
}

static bool tar_take_pax(struct tar *tar, const char *records, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t length = pax_length(records + at, size - at);
        if (length == 0)
            return tar_damaged(tar);
        if (!pax_take(tar, records + at, length))
            return false;
        at += length;
    }
    return true;
}

/* --- entries --- */

static bool tar_take_file(struct tar *tar, const unsigned char *header, const unsigned char *data, size_t size)
{
    bool added = seed_files_add(tar->files, tar_path(tar, header), data, size, tar->error);
    *tar->path = '\0';
    return added;
}

static bool tar_take_entry(struct tar *tar, const unsigned char *header, const unsigned char *data, size_t size)
{
    switch (header[TAR_TYPE]) {
    case '0':
    case '\0':
        return tar_take_file(tar, header, data, size);
    case '5':
        *tar->path = '\0';
        return true;
    case 'g': /* for all that follows: comments and times */
        return true;
    case 'x':
        return tar_take_pax(tar, (const char *)data, size);
    case 'L': /* GNU's */
        *tar->path = '\0';
        tar_put(tar->path, data, size);
        return true;
    default:
        return seed_say(tar->error, "the tar has something that is neither file nor folder");
    }
}

static bool tar_take_next(struct tar *tar, const unsigned char *header)
{
    long size = tar_number(header + TAR_SIZE, 12);
    size_t rest = tar->length - tar->at - TAR_BLOCK;
    if (!tar_sum_is_right(header) || size < 0 || (size_t)size > rest)
        return tar_damaged(tar);
    if (!tar_take_entry(tar, header, header + TAR_BLOCK, (size_t)size))
        return false;
    size_t blocks = ((size_t)size + TAR_BLOCK - 1) / TAR_BLOCK;
    tar->at += TAR_BLOCK * (1 + blocks);
    return true;
}

bool seed_files_parse_tar(struct seed_files *files, const void *text, size_t length, char error[SEED_ERROR_MAX])
{
    struct tar tar = {.text = text, .length = length, .files = files, .error = error};
    if (length < TAR_BLOCK || !tar_sum_is_right(text))
        return seed_say(error, "the config medium's files are neither a JSON object nor a tar (uncompressed)");
    while (tar.at <= length && length - tar.at >= TAR_BLOCK) {
        const unsigned char *header = tar.text + tar.at;
        if (tar_is_end(header))
            return true;
        if (!tar_take_next(&tar, header))
            return false;
    }
    return tar_damaged(&tar);
}
