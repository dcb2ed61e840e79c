#include "store/part.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define HASH_STEP   (4u << 20)  /* read by one call */
#define HASH_BUFFER (64u << 10) /* bytes read at a time */

/* --- the hash --- */

static void forget(struct part *part)
{
    EVP_MD_CTX_free(part->hash);
    part->hash = NULL;
    part->hashed = 0;
}

static void hash_add(struct part *part, const void *data, size_t length)
{
    if (!part->hash) {
        part->hash = EVP_MD_CTX_new();
        if (!part->hash || EVP_DigestInit_ex(part->hash, EVP_sha256(), NULL) != 1)
            mem_exhausted();
    }
    if (EVP_DigestUpdate(part->hash, data, length) != 1)
        mem_exhausted();
    part->hashed += length;
}

static void hash_end(struct part *part)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_DigestFinal_ex(part->hash, digest, &length) != 1 || length * 2 + 1 != STORE_SHA256)
        mem_exhausted();
    text_hex(digest, length, part->sha256);
    forget(part);
}

/* Is what was hashed still what is in the file? */
static void check_hash(struct part *part, const struct stat *st)
{
    if (st->st_ino != part->ino || st->st_mtim.tv_sec != part->mtime.tv_sec ||
        st->st_mtim.tv_nsec != part->mtime.tv_nsec || part->hashed > part->offset)
        forget(part);
}

int part_hash_step(struct part *part, char error[STORE_ERROR_MAX])
{
    unsigned char *buffer = mem_alloc(HASH_BUFFER);
    uint64_t until = part->offset - part->hashed > HASH_STEP ? part->hashed + HASH_STEP : part->offset;
    int status = 0;
    while (part->hashed < until && status == 0) {
        uint64_t left = until - part->hashed;
        ssize_t n = pread(part->fd, buffer, left < HASH_BUFFER ? (size_t)left : HASH_BUFFER, (off_t)part->hashed);
        if (n > 0)
            hash_add(part, buffer, (size_t)n);
        else if (n == 0 || errno != EINTR)
            status = store_fail(error, n == 0 ? -EIO : -errno, "What is there of %s can't be read: %s.", part->name,
                                n == 0 ? "it is shorter now" : strerror(errno));
    }
    mem_free(buffer);
    return status;
}

/* --- beginning --- */

void part_init(struct part *part, const char *name)
{
    *part = (struct part){.fd = -1};
    snprintf(part->name, sizeof part->name, "%s", name);
}

void part_clear(struct part *part)
{
    forget(part);
}

static int no_room(const struct part *part, uint64_t needed, uint64_t free, char error[STORE_ERROR_MAX])
{
    char need[TEXT_SIZE_MAX], have[TEXT_SIZE_MAX];
    text_human_size(needed, need);
    text_human_size(free, have);
    return store_fail(error, -ENOSPC, "%s needs room for %s, there is only %s.", part->name, need, have);
}

/* A new upload must have room for all its bytes. For one that was begun the room was
 * reserved, but others may have filled the file system. */
static int store_part_check_room(const struct part *part, const struct folder *folder,
                                 const struct folder_listing *listing, bool fresh, const struct store_piece *piece,
                                 char error[STORE_ERROR_MAX])
{
    char most[TEXT_SIZE_MAX];
    uint64_t available = listing->available > folder->keep_free ? listing->available - folder->keep_free : 0;
    text_human_size(folder->max_bytes, most);
    if (part->size > folder->max_bytes)
        return store_fail(error, -EFBIG, "%s is too large: all uploads may have %s.", part->name, most);
    if (!fresh)
        return piece->length > available ? no_room(part, piece->length, available, error) : 0;
    if (listing->count >= folder->max_count)
        return store_fail(error, -ENOSPC, "There are %u uploads already: delete one.", listing->count);
    return part->size > listing->free ? no_room(part, part->size, listing->free, error) : 0;
}

/* Is this the piece that comes next? `fresh`: nothing of the image is there yet. */
static int check_piece(struct part *part, const struct folder *folder, const struct store_piece *piece, bool *fresh,
                       char error[STORE_ERROR_MAX])
{
    struct folder_listing listing;
    struct stat st;
    int status = folder_scan(folder, false, &listing);
    if (status != 0)
        return store_fail(error, status, "The uploads can't be read: %s.", strerror(-status));
    const struct store_entry *entry = folder_find(&listing, part->name);
    *fresh = !entry;
    part->offset = entry ? entry->offset : 0;
    if (fstatat(folder->fd, part->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        status = store_fail(error, -EEXIST, "There is an image %s already: delete it first.", part->name);
    else if (entry && entry->size != part->size)
        status = store_fail(error, -ERANGE, "%s was begun with %" PRIu64 " bytes: delete it first.", part->name,
                            entry->size);
    else if (piece->first != part->offset)
        status = store_fail(error, -ERANGE, "%s goes on at byte %" PRIu64 ".", part->name, part->offset);
    else
        status = store_part_check_room(part, folder, &listing, *fresh, piece, error);
    mem_free(listing.entries);
    return status;
}

/* Takes up a file that was found: cuts off what is behind the offset and syncs what is
 * before it, so that folder_synced() holds for what is written from now on. */
static int take_up(struct part *part, char error[STORE_ERROR_MAX])
{
    struct stat st;
    if (fstat(part->fd, &st) != 0)
        return store_fail(error, -errno, "What is there of %s can't be used: %s.", part->name, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return store_fail(error, -EIO, "What is there of %s is no file of the store's.", part->name);
    check_hash(part, &st);
    if ((uint64_t)st.st_size != part->offset && ftruncate(part->fd, (off_t)part->offset) != 0)
        return store_fail(error, -errno, "What is there of %s can't be used: %s.", part->name, strerror(errno));
    if (part->offset > 0 && fdatasync(part->fd) != 0)
        return store_fail(error, -errno, "What is there of %s can't be used: %s.", part->name, strerror(errno));
    return 0;
}

int part_begin(struct part *part, const struct folder *folder, const struct store_piece *piece,
               char error[STORE_ERROR_MAX])
{
    char file[STORE_FILE_MAX];
    bool fresh = false;
    part->size = piece->size;
    part->complete = false;
    int status = check_piece(part, folder, piece, &fresh, error);
    if (status != 0)
        return status;
    store_part_file(file, part->name, part->size, folder->boot);
    int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (fresh ? O_CREAT | O_EXCL : 0);
    part->fd = openat(folder->fd, file, flags, 0600);
    if (part->fd < 0) /* -EEXIST would say that there is an image */
        return store_fail(error, errno == EEXIST ? -EIO : -errno, "What is there of %s can't be opened: %s.",
                          part->name, strerror(errno));
    status = take_up(part, error);
    if (status != 0) {
        close(part->fd);
        part->fd = -1;
    }
    return status;
}

/* --- writing --- */

/* After a sync or an end that failed, only what folder_synced() tells is sure; the
 * client sends the rest again. */
static void roll_back(struct part *part)
{
    part->offset = folder_synced(part->offset);
    forget(part);
    if (ftruncate(part->fd, (off_t)part->offset) != 0)
        part->offset = 0; /* the next piece finds out how much is there */
}

static int store_part_write_failed(const struct part *part, int number, char error[STORE_ERROR_MAX])
{
    if (number == ENOSPC || number == EDQUOT || number == EFBIG)
        return store_fail(error, -ENOSPC, "%s: the storage is full.", part->name);
    return store_fail(error, -number, "%s can't be written: %s.", part->name, strerror(number));
}

static int sync_part(struct part *part, char error[STORE_ERROR_MAX])
{
    if (fdatasync(part->fd) == 0)
        return 0;
    int status = store_part_write_failed(part, errno, error);
    roll_back(part);
    return status;
}

int part_write(struct part *part, const void *data, size_t length, char error[STORE_ERROR_MAX])
{
    const unsigned char *at = data;
    int status = 0;
    while (length > 0 && status == 0) {
        uint64_t until_sync = STORE_SYNC - part->offset % STORE_SYNC;
        ssize_t n = pwrite(part->fd, at, length < until_sync ? length : (size_t)until_sync, (off_t)part->offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return store_part_write_failed(part, n == 0 ? EIO : errno, error);
        hash_add(part, at, (size_t)n);
        part->offset += (uint64_t)n;
        at += n;
        length -= (size_t)n;
        if (part->offset % STORE_SYNC == 0)
            status = sync_part(part, error);
    }
    return status;
}

/* --- the end --- */

static int store_part_finish(struct part *part, const struct folder *folder, const char *file,
                             char error[STORE_ERROR_MAX])
{
    struct stat st;
    int status = fsync(part->fd) != 0 || fstat(part->fd, &st) != 0 ? store_part_write_failed(part, errno, error) : 0;
    if (status == 0) {
        hash_end(part);
        folder_save_digest(folder, part->name, &st, part->sha256);
        status = folder_rename(folder, file, part->name);
        if (status == -EEXIST)
            store_fail(error, status, "There is an image %s already: delete it first.", part->name);
        else if (status != 0)
            store_fail(error, status, "%s can't get its name: %s.", part->name, strerror(-status));
    }
    if (status != 0) {
        roll_back(part);
        return status;
    }
    folder_sync(folder);
    part->complete = true;
    return 0;
}

int part_end(struct part *part, const struct folder *folder, int status, char error[STORE_ERROR_MAX])
{
    char file[STORE_FILE_MAX], late[STORE_ERROR_MAX];
    struct stat st;
    int end = 0;
    store_part_file(file, part->name, part->size, folder->boot);
    if (part->offset == 0)
        unlinkat(folder->fd, file, 0); /* there is nothing to go on with */
    else if (part->offset == part->size)
        end = store_part_finish(part, folder, file, late);
    else
        end = sync_part(part, late);
    if (part->offset == 0 || part->complete || fstat(part->fd, &st) != 0) {
        forget(part);
    } else {
        part->ino = st.st_ino;
        part->mtime = st.st_mtim;
    }
    close(part->fd);
    part->fd = -1;
    return status == 0 && end != 0 ? store_fail(error, end, "%s", late) : status;
}
