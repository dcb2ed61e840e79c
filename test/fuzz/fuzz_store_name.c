/* Names of uploaded images, as clients send them, and of files as they are found in the store's folder. */
#include <stdlib.h>
#include <string.h>

#include "store/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* A good name is one segment of a path, and the files made from it lead back to it. */
static void check_name(const char *name)
{
    char file[STORE_FILE_MAX], back[STORE_NAME_MAX + 1];
    struct store_part_name part;
    must(*name && *name != '.' && !strchr(name, '/') && strlen(name) <= STORE_NAME_MAX);
    for (const char *c = name; *c; c++)
        must((unsigned char)*c >= ' ' && *c != 127);
    store_part_file(file, name, INT64_MAX, "0123abcd");
    must(store_part_parse(file, &part) && strcmp(part.name, name) == 0 && part.size == INT64_MAX &&
         strcmp(part.boot, "0123abcd") == 0 && store_name_problem(file));
    store_digest_file(file, name);
    must(store_digest_parse(file, back) && strcmp(back, name) == 0 && store_name_problem(file));
}

static void check_file(const char *file)
{
    char name[STORE_NAME_MAX + 1], again[STORE_FILE_MAX];
    struct store_part_name part;
    if (store_part_parse(file, &part)) {
        must(!store_name_problem(part.name) && part.size > 0 && part.size <= INT64_MAX && strlen(part.boot) == STORE_BOOT);
        store_part_file(again, part.name, part.size, part.boot);
        must(strcmp(again, file) == 0);
    }
    if (store_digest_parse(file, name)) {
        must(!store_name_problem(name));
        store_digest_file(again, name);
        must(strcmp(again, file) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (!store_name_problem(text))
        check_name(text);
    check_file(text);
    return 0;
}
