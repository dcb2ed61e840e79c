/*
 * One partial upload: its file, and the SHA-256 of what is in it. Everything here may
 * block, and runs on a work thread; part_begin() and part_end() one at a time in a
 * store, since they look at the whole directory and change it.
 *
 * The file is open from part_begin() to part_end(). Between pieces the hash is kept and
 * is used again if the file is still what it was. Private to store/.
 */
#ifndef STORE_PART_H
#define STORE_PART_H

#include <openssl/evp.h>

#include "store/folder.h"

struct part {
    char name[STORE_NAME_MAX + 1];
    uint64_t size, offset; /* bytes announced, and bytes written */
    int fd;                /* -1: closed */
    EVP_MD_CTX *hash;      /* of the first `hashed` bytes; NULL: begins anew */
    uint64_t hashed;
    ino_t ino; /* of the file that was hashed */
    struct timespec mtime;
    bool complete;
    char sha256[STORE_SHA256];
};

void part_init(struct part *part, const char *name);
/* Lets go of the hash. The file must be closed. */
void part_clear(struct part *part);

/* Opens the part's file, or makes it for the first piece, provided that the piece comes
 * next and there is room. Statuses as for struct store_piece; with each of them `offset`
 * is how much is there. */
int part_begin(struct part *part, const struct folder *folder, const struct store_piece *piece,
               char error[STORE_ERROR_MAX]);
/* Hashes the next step of what the file had before; to be called until all is hashed. */
int part_hash_step(struct part *part, char error[STORE_ERROR_MAX]);
static inline bool part_is_hashed(const struct part *part)
{
    return part->hashed == part->offset;
}
/* Writes at the offset, which grows by what could be written, also if not all could. */
int part_write(struct part *part, const void *data, size_t length, char error[STORE_ERROR_MAX]);
/* Syncs and closes; an upload that has all its bytes gets its name. `status`: of the
 * steps before; the first failure is returned. */
int part_end(struct part *part, const struct folder *folder, int status, char error[STORE_ERROR_MAX]);

#endif
