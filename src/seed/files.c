#include "seed/files.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "seed/say.h"

/* --- names --- */

/* Windows can't have these in a name; a backslash is a separator there. */
static bool seed_is_plain(const char *name)
{
    for (const char *c = name; *c;) {
        uint32_t code;
        size_t length = text_character(c, &code);
        if (length == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) || code > 0xffff || strchr("\\:;*?\"<>|", *c))
            return false;
        c += length;
    }
    return true;
}

/* What is wrong with the parts between the slashes; NULL: nothing. */
static const char *parts_problem(const char *name)
{
    unsigned folders = 0;
    for (const char *part = name;; part++, folders++) {
        size_t length = strcspn(part, "/");
        if (length == 0 || strncmp(part, ".", length) == 0 || (length == 2 && strncmp(part, "..", 2) == 0))
            return "is no relative path";
        if (length > SEED_PART_MAX)
            return "has a part of more than 64 bytes";
        part += length;
        if (!*part)
            return folders <= SEED_DEPTH_MAX ? NULL : "is in more than 7 folders";
    }
}

static const char *seed_name_problem(const char *name)
{
    if (!*name || strlen(name) > SEED_NAME_MAX)
        return "is empty, or longer than 255 bytes";
    return seed_is_plain(name) ? parts_problem(name) : "has characters that not every system can read";
}

/* One is a file, where the other needs a folder, or both are the same. */
static bool is_in_the_way(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), least = n < m ? n : m;
    return strncmp(a, b, least) == 0 && (n == m || (n < m ? b[n] : a[m]) == '/');
}

/* --- the list --- */

static bool seed_fits(const struct seed_files *files, size_t before, size_t size, char error[SEED_ERROR_MAX])
{
    return size <= SEED_SIZE_MAX - (files->size - before) || seed_say(error, "the files have more than %u bytes", SEED_SIZE_MAX);
}

static bool may_add(const struct seed_files *files, const char *name, size_t size, char error[SEED_ERROR_MAX])
{
    const char *problem = seed_name_problem(name);
    char shown[SEED_NAME_MAX];
    text_escape(name, shown, sizeof shown);
    if (problem)
        return seed_say(error, "the file name \"%.200s\" %s", shown, problem);
    if (files->count == SEED_FILES_MAX)
        return seed_say(error, "there are more than %u files", SEED_FILES_MAX);
    for (unsigned i = 0; i < files->count; i++)
        if (is_in_the_way(files->list[i].name, name))
            return seed_say(error, "the file \"%.200s\" is there twice, or is a folder too", shown);
    return seed_fits(files, 0, size, error);
}

bool seed_files_add(struct seed_files *files, const char *name, const void *data, size_t size, char error[SEED_ERROR_MAX])
{
    if (!may_add(files, name, size, error))
        return false;
    struct seed_file *file = &files->list[files->count++];
    *file = (struct seed_file){.name = mem_strdup(name), .data = wipe_malloc(size + 1), .size = size};
    memcpy(file->data, data, size);
    file->binary = memchr(data, '\0', size);
    files->size += size;
    return true;
}

const struct seed_file *seed_files_find(const struct seed_files *files, const char *name)
{
    for (unsigned i = 0; i < files->count; i++)
        if (strcmp(files->list[i].name, name) == 0)
            return &files->list[i];
    return NULL;
}

static void seed_file_wipe(struct seed_file *file)
{
    explicit_bzero(file->data, file->size); /* wipe_free() leaves large ones */
    wipe_free(file->data);
}

bool seed_files_set(struct seed_files *files, struct seed_file *file, unsigned char *data, size_t size,
                    char error[SEED_ERROR_MAX])
{
    bool fits = seed_fits(files, file->size, size, error);
    files->size += size - file->size;
    seed_file_wipe(file);
    file->data = data;
    file->size = size;
    return fits;
}

void seed_files_clear(struct seed_files *files)
{
    for (unsigned i = 0; i < files->count; i++) {
        seed_file_wipe(&files->list[i]);
        mem_free(files->list[i].name);
    }
    memset(files, 0, sizeof *files);
}
