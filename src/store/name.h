/*
 * Names of uploaded images, and of the files that belong to them. Pure.
 */
#ifndef STORE_NAME_H
#define STORE_NAME_H

#include <stdbool.h>
#include <stdint.h>

#define STORE_NAME_MAX 200 /* bytes */
#define STORE_FILE_MAX 256 /* a name with all that is added to it, and its end */
#define STORE_BOOT     8   /* hexadecimal digits that tell boots of the system apart */

/* What is wrong with the name of an image, in words; NULL if nothing is. It is one path
 * segment of 1 to STORE_NAME_MAX bytes, UTF-8 without control characters, and doesn't
 * begin with a dot: such files are the store's own. */
const char *store_name_problem(const char *name);

struct store_part_name {
    char name[STORE_NAME_MAX + 1];
    uint64_t size; /* 1 to INT64_MAX */
    char boot[STORE_BOOT + 1];
};

void store_part_file(char file[STORE_FILE_MAX], const char *name, uint64_t size, const char *boot);
void store_digest_file(char file[STORE_FILE_MAX], const char *name);
/* False: the name is not that of a part. */
bool store_part_parse(const char *file, struct store_part_name *part);
bool store_digest_parse(const char *file, char name[STORE_NAME_MAX + 1]);

#endif
