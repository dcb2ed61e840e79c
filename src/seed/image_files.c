#include "seed/image_files.h"

#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "seed/say.h"

static bool add_change(struct file_changes *changes, struct file_change *change, char error[SEED_ERROR_MAX])
{
    const char *problem = file_changes_add(changes, change);
    return !problem || seed_say(error, "%s", problem);
}

/* Takes the place of the file, or goes into it, with what is known of the machine. */
static bool add_filled(struct file_changes *changes, struct file_change *change, const json_t *text,
                     const struct seed_facts *facts, char error[SEED_ERROR_MAX])
{
    const char *bytes = json_string_value(text);
    size_t length = json_string_length(text);
    change->text = seed_facts_fill(facts, bytes, length, &change->length, error);
    if (!change->text) {
        mem_free(change->mark);
        mem_free(change->path);
    }
    return change->text && add_change(changes, change, error);
}

static bool add_bytes(struct file_changes *changes, const char *path, const json_t *text, char error[SEED_ERROR_MAX])
{
    struct file_change change = {.how = FILE_REPLACED};
    size_t length;
    unsigned char *bytes = seed_base64(json_string_value(text), json_string_length(text), &length);
    if (!bytes)
        return seed_say(error, "the contents of \"%.200s\" are no good base64", path);
    change.path = mem_strdup(path);
    change.text = (char *)bytes;
    change.length = length;
    return add_change(changes, &change, error);
}

static bool add_lines(struct file_changes *changes, const char *path, const json_t *value, const struct seed_facts *facts,
                      char error[SEED_ERROR_MAX])
{
    const json_t *after = json_object_get(value, "after"), *before = json_object_get(value, "before");
    const json_t *mark = after ? after : before;
    if (json_object_size(value) != (mark ? 2u : 1u) || (mark && !json_is_string(mark)))
        return seed_say(error, "lines for \"%.200s\" are {\"insert\": LINES}, with \"after\" or \"before\" and a part of a line", path);
    struct file_change change = {
        .path = mem_strdup(path),
        .how = after ? FILE_LINES_AFTER : before ? FILE_LINES_BEFORE : FILE_LINES_AT_END,
        .mark = mem_strdup(json_string_value(mark)),
    };
    return add_filled(changes, &change, json_object_get(value, "insert"), facts, error);
}

static bool add_one(struct file_changes *changes, const char *path, const json_t *value, const struct seed_facts *facts,
                    char error[SEED_ERROR_MAX])
{
    if (json_is_string(value)) {
        struct file_change change = {.path = mem_strdup(path), .how = FILE_REPLACED};
        return add_filled(changes, &change, value, facts, error);
    }
    if (json_is_string(json_object_get(value, "insert")))
        return add_lines(changes, path, value, facts, error);
    if (json_is_string(json_object_get(value, "base64")) && json_object_size(value) == 1)
        return add_bytes(changes, path, json_object_get(value, "base64"), error);
    return seed_say(error, "what is to become of \"%.200s\" is neither a text nor {\"base64\": TEXT} nor {\"insert\": LINES}", path);
}

static bool add_all(struct file_changes *changes, const char *path, const json_t *value, const struct seed_facts *facts,
                    char error[SEED_ERROR_MAX])
{
    const json_t *one;
    size_t i;
    if (!json_is_array(value))
        return add_one(changes, path, value, facts, error);
    json_array_foreach(value, i, one)
        if (!add_one(changes, path, one, facts, error))
            return false;
    return true;
}

bool seed_image_files_parse(const char *text, size_t length, const struct seed_facts *facts, struct file_changes *changes,
                            char error[SEED_ERROR_MAX])
{
    json_error_t wrong;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &wrong), *value;
    const char *path;
    bool good = json_is_object(root) ||
                seed_say(error, "image-files are no good JSON, which is an object: line %d, column %d", wrong.line, wrong.column);
    if (good)
        json_object_foreach(root, path, value)
            good = good && add_all(changes, path, value, facts, error);
    if (good && changes->count == 0)
        good = seed_say(error, "image-files name no file");
    seed_wipe_value(root);
    json_decref(root);
    return good;
}
