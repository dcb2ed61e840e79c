/*
 * The directory of the store: what is in it, and what is taken out of it. Everything
 * here may block, and runs on a work thread, one call at a time (folder_open() before the
 * loop runs). Files are reached by the directory's descriptor, without following links.
 * Private to store/.
 */
#ifndef STORE_FOLDER_H
#define STORE_FOLDER_H

#include <sys/stat.h>

#include "store/store.h"

#define STORE_WHO "store" /* in the log */

struct folder {
    int fd;
    char *path;
    char boot[STORE_BOOT + 1]; /* of the running system */
    uint64_t max_bytes, keep_free;
    unsigned max_count;
};

struct folder_listing {
    struct store_entry *entries; /* room for max_count */
    unsigned count, ignored;
    uint64_t bytes;     /* of all images and parts, by their announced sizes */
    uint64_t missing;   /* bytes of those that are still to come */
    uint64_t available; /* in the file system, to anybody */
    uint64_t free;      /* to a new upload */
};

/* Writes what failed to `error`; returns `status`. */
__attribute__((format(printf, 3, 4))) int store_fail(char error[STORE_ERROR_MAX], int status, const char *format, ...);

int folder_open(struct folder *folder, const struct store_options *options, char error[STORE_ERROR_MAX]);
void folder_close(struct folder *folder);

/* The caller frees the entries with mem_free(). */
int folder_scan(const struct folder *folder, bool with_digests, struct folder_listing *listing);
struct store_entry *folder_find(const struct folder_listing *listing, const char *name); /* NULL: none */
/* Removes an image, its digest, and its parts of any size. -ENOENT: there was none of these. */
int folder_remove(const struct folder *folder, const char *name);
/* Deletes stale parts, and digests whose image is gone; takes over the parts of earlier
 * boots. Parts of the `spared` names, each STORE_NAME_MAX + 1 bytes, are left alone. */
void folder_sweep(const struct folder *folder, uint64_t partial_age_ms, const char *spared, unsigned count);

/* How much of a part that was not closed in order is known to be on the medium: only a
 * byte behind a multiple of STORE_SYNC shows that all before that multiple was
 * synced. */
uint64_t folder_synced(uint64_t offset);
int folder_rename(const struct folder *folder, const char *from, const char *to); /* never over another */
void folder_sync(const struct folder *folder); /* syncs the directory's entries; a failure is only logged */

/* The digest is kept for a file with exactly this size and mtime. */
void folder_save_digest(const struct folder *folder, const char *name, const struct stat *st,
                        const char sha256[STORE_SHA256]);

#endif
