/* A config medium's files from JSON, or from a tar. See seed/files.h. */
#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/wipe.h"
#include "seed/files.h"
#include "seed/say.h"

/* --- base64 --- */

/* The length of what the text stands for; -1: it is no base64. `bytes` has room for 3 bytes of each 4. */
static long decode_base64(const char *text, size_t length, unsigned char *bytes)
{
    long size = length % 4 == 0 && length <= SEED_TEXT_MAX ? EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length) : -1;
    if (length == 0 || size < 0)
        return length == 0 ? 0 : -1;
    return size - (text[length - 1] == '=') - (text[length - 2] == '=');
}

unsigned char *seed_base64(const char *text, size_t length, size_t *size)
{
    size_t room = length / 4 * 3 + 1;
    unsigned char *bytes = wipe_malloc(room);
    long decoded = decode_base64(text, length, bytes);
    *size = decoded >= 0 ? (size_t)decoded : 0;
    if (decoded >= 0)
        return bytes;
    explicit_bzero(bytes, room);
    wipe_free(bytes);
    return NULL;
}

static bool add_base64(struct seed_files *files, const char *name, const json_t *value, char error[SEED_ERROR_MAX])
{
    const json_t *text = json_object_get(value, "base64");
    size_t size = 0;
    unsigned char *bytes = json_is_string(text) && json_object_size(value) == 1
                               ? seed_base64(json_string_value(text), json_string_length(text), &size)
                               : NULL;
    bool good = bytes ? seed_files_add(files, name, bytes, size, error)
                      : seed_say(error, "the contents of \"%.200s\" are neither a text nor {\"base64\": TEXT}", name);
    if (bytes)
        explicit_bzero(bytes, size);
    wipe_free(bytes);
    if (good)
        files->list[files->count - 1].binary = true;
    return good;
}

/* --- JSON --- */

void seed_wipe_value(json_t *value)
{
    const char *name;
    json_t *below;
    size_t i;
    if (json_is_string(value))
        explicit_bzero((char *)json_string_value(value), json_string_length(value)); /* NOLINT: it is a heap block */
    json_object_foreach(value, name, below)
        seed_wipe_value(below);
    json_array_foreach(value, i, below)
        seed_wipe_value(below);
}

static bool parse_object(struct seed_files *files, json_t *root, char error[SEED_ERROR_MAX])
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        bool good = json_is_string(value)
                        ? seed_files_add(files, name, json_string_value(value), json_string_length(value), error)
                        : add_base64(files, name, value, error);
        seed_wipe_value(value);
        if (!good)
            return false;
    }
    return true;
}

static bool parse_json(struct seed_files *files, const char *text, size_t length, char error[SEED_ERROR_MAX])
{
    json_error_t wrong;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &wrong);
    bool good = root ? parse_object(files, root, error)
                     : seed_say(error, "the config medium's files are no good JSON: line %d, column %d", wrong.line, wrong.column);
    json_decref(root);
    return good;
}

bool seed_files_parse(struct seed_files *files, const void *text, size_t length, char error[SEED_ERROR_MAX])
{
    const char *begin = text;
    size_t blanks = 0;
    while (blanks < length && strchr(" \t\r\n", begin[blanks]) && begin[blanks])
        blanks++;
    if (blanks < length && begin[blanks] == '{')
        return parse_json(files, text, length, error);
    return seed_files_parse_tar(files, text, length, error);
}
