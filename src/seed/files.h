/*
 * The files of a config medium: names and contents that somebody gave as JSON or as a tar, and that a machine reads at
 * its first boot. They may be secrets: what is let go of is overwritten.
 *
 * JSON is one object, {"user-data": "text", "keys/host.bin": {"base64": "AAEC"}}. A tar has no
 * compression.
 */
#ifndef SEED_FILES_H
#define SEED_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SEED_FILES_MAX 64
#define SEED_SIZE_MAX  (1u << 20)   /* bytes of all contents */
#define SEED_TEXT_MAX  (2u << 20)   /* of the JSON or tar */
#define SEED_NAME_MAX  255          /* bytes; with the folders */
#define SEED_PART_MAX  64           /* bytes of one part of a name: Joliet has room for 64 characters */
#define SEED_DEPTH_MAX 7            /* folders in each other: ISO 9660 has eight levels, one is the root */
#define SEED_ERROR_MAX 512

struct seed_file {
    char *name;          /* "user-data", "openstack/latest/user_data" */
    unsigned char *data; /* for wipe_free(); never NULL */
    size_t size;
    bool binary;         /* not to be looked for placeholders */
};

/* Zeroed: empty. */
struct seed_files {
    struct seed_file list[SEED_FILES_MAX];
    unsigned count;
    size_t size; /* of all contents */
};

/* Copies both. False: `error` says why not, without the contents. */
bool seed_files_add(struct seed_files *files, const char *name, const void *data, size_t size, char error[SEED_ERROR_MAX]);
/* The file of that name; NULL: there is none. */
const struct seed_file *seed_files_find(const struct seed_files *files, const char *name);
/* Puts other contents in the file's place; takes over `data`. */
bool seed_files_set(struct seed_files *files, struct seed_file *file, unsigned char *data, size_t size,
                    char error[SEED_ERROR_MAX]);
void seed_files_clear(struct seed_files *files);

/* Adds what the JSON or tar has. */
bool seed_files_parse(struct seed_files *files, const void *text, size_t length, char error[SEED_ERROR_MAX]);

/* parse.c: the bytes that the text stands for, for wipe_free(); NULL: it is no base64. Overwrites a value's texts, which
 * its owner is done with. */
unsigned char *seed_base64(const char *text, size_t length, size_t *size);
void seed_wipe_value(json_t *value);

/* tar.c; the text is no JSON */
bool seed_files_parse_tar(struct seed_files *files, const void *text, size_t length, char error[SEED_ERROR_MAX]);

#endif
