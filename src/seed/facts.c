#include "seed/facts.h"

#include <stdio.h>
#include <string.h>

#include "base/wipe.h"
#include "seed/say.h"

static const struct {
    const char *word;
    size_t offset;
} placeholders[] = {
    {"{slot}", offsetof(struct seed_facts, slot)},
    {"{serial}", offsetof(struct seed_facts, serial)},
    {"{uuid}", offsetof(struct seed_facts, uuid)},
    {"{mac}", offsetof(struct seed_facts, mac)},
};
enum { PLACEHOLDERS = sizeof placeholders / sizeof *placeholders };

/* Which placeholder stands at `at`; PLACEHOLDERS: none. */
static unsigned placeholder_at(const char *text, size_t length, size_t at)
{
    unsigned i = PLACEHOLDERS;
    if (text[at] != '{' || (at > 0 && strchr("${", text[at - 1])))
        return i;
    for (i = 0; i < PLACEHOLDERS; i++) {
        size_t size = strlen(placeholders[i].word);
        if (size <= length - at && memcmp(text + at, placeholders[i].word, size) == 0)
            break;
    }
    return i;
}

/* Writes to `to`, unless that is NULL. The length; -1: a fact is not known. */
static long fill(const struct seed_facts *facts, const char *text, size_t length, char *to, char error[SEED_ERROR_MAX])
{
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        unsigned i = placeholder_at(text, length, at);
        const char *value = i < PLACEHOLDERS ? (const char *)facts + placeholders[i].offset : text + at;
        size_t size = i < PLACEHOLDERS ? strlen(value) : 1;
        if (size == 0) {
            seed_say(error, "nothing is known for the placeholder %s", placeholders[i].word);
            return -1;
        }
        if (to)
            memcpy(to + used, value, size);
        used += size;
        at += i < PLACEHOLDERS ? strlen(placeholders[i].word) : 1;
    }
    return (long)used;
}

char *seed_facts_fill(const struct seed_facts *facts, const char *text, size_t length, size_t *filled,
                      char error[SEED_ERROR_MAX])
{
    const long most = SEED_SIZE_MAX;
    long size = fill(facts, text, length, NULL, error);
    if (size > most)
        seed_say(error, "with its placeholders filled in a text has more than %ld bytes", most);
    if (size < 0 || size > most)
        return NULL;
    char *to = wipe_malloc((size_t)size + 1);
    fill(facts, text, length, to, error);
    to[size] = '\0';
    *filled = (size_t)size;
    return to;
}

static bool fill_file(const struct seed_facts *facts, struct seed_files *files, struct seed_file *file,
                      char error[SEED_ERROR_MAX])
{
    char why[SEED_ERROR_MAX];
    size_t size;
    char *text = seed_facts_fill(facts, (const char *)file->data, file->size, &size, why);
    if (!text)
        return seed_say(error, "%.200s, which is in the file %.200s (give it with the insert, or in [host])", why, file->name);
    return seed_files_set(files, file, (unsigned char *)text, size, error);
}

bool seed_facts_fill_files(const struct seed_facts *facts, struct seed_files *files, char error[SEED_ERROR_MAX])
{
    for (unsigned i = 0; i < files->count; i++)
        if (!files->list[i].binary && !fill_file(facts, files, &files->list[i], error))
            return false;
    return true;
}
