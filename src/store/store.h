/*
 * Images that were uploaded into the BMC's own storage, complete and partial ones, in
 * one directory:
 *
 *     NAME                   a complete image, mode 0600
 *     .NAME.SIZE-BOOT.part   a partial one: SIZE is what was announced, BOOT the boot
 *                            of the system it was written in
 *     .NAME.sha256           the SHA-256 of NAME, with the size and mtime it has it for
 *
 * An upload comes in pieces, each at exactly the offset where the last one ended; what
 * has arrived of a piece that is cut off stays. The image gets its name after its last
 * byte was synced, and never in the place of another. Whatever ends an upload before
 * that (a lost connection, SIGKILL, the power), no half image is seen and the upload
 * can go on. Data is synced at least every STORE_SYNC bytes: after the system was
 * booted anew, a part is cut back to what such a sync is known to have covered.
 *
 * SHA-256 is computed as bytes come; if the daemon was started anew meanwhile, what is
 * there is hashed again before the next piece. An image that was put into the directory
 * by hand, or was written to, is listed without a SHA-256: hashing gigabytes for a list
 * would keep a BMC busy for minutes.
 *
 * The directory is the only truth: it is read again for each request, so that files may
 * come and go by hand. What is in it is only used if it is a regular file; nothing is
 * followed out of it. Everything that may block runs on work threads; what changes the
 * directory runs there one after the other.
 *
 * Pieces, lists and removals are owned by the caller until `done`, which is called
 * exactly once, never inside a call.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/defer.h"
#include "base/list.h"
#include "base/work.h"
#include "store/name.h"

#define STORE_COUNT_MAX      64          /* images and parts; more in the directory are not seen */
#define STORE_BUFFER_MAX     (1u << 20)  /* bytes of a piece in memory, besides what one store_write() adds */
#define STORE_WRITERS_MAX    4           /* pieces in work; more wait, as many as there may be uploads */
#define STORE_QUEUE_MAX      64          /* lists and removals that wait */
#define STORE_SYNC           (4u << 20)  /* bytes that may wait for a sync */
#define STORE_PARTIAL_AGE_MS 86400000ull /* a part that nobody went on with for so long is deleted */
#define STORE_SWEEP_MS       3600000ull  /* how often such parts are looked for, besides at the start */
#define STORE_ERROR_MAX      384
#define STORE_SHA256         65 /* hexadecimal digits and the end */

struct store;

struct store_options {
    const char *directory;   /* made with mode 0700 if it is not there */
    uint64_t max_bytes;      /* of all uploads, parts with their announced size; 0: no uploads */
    uint64_t keep_free;      /* bytes of the file system that uploads leave free */
    unsigned max_count;      /* 0: STORE_COUNT_MAX, which is also the most */
    uint64_t partial_age_ms; /* 0: STORE_PARTIAL_AGE_MS */
};

struct store_entry {
    char name[STORE_NAME_MAX + 1];
    uint64_t size, offset; /* offset: how much of it is there */
    bool complete;
    char sha256[STORE_SHA256]; /* "": not known */
    int64_t modified;          /* ms since 1970 */
};

struct store_job { /* private: one on the directory */
    struct work work;
    struct link link;
    struct store *store;
    void (*run)(struct store_job *job);
    void (*done)(struct store_job *job);
};

/* Opens the directory; blocks, so before the loop runs. NULL and an error in words: it
 * can't be made or opened, it is no directory or a symbolic link, others may write in it,
 * or another store has it. */
struct store *store_new(uv_loop_t *loop, const struct store_options *options, char error[STORE_ERROR_MAX]);
/* Pieces end with what has arrived; lists and removals that were begun are done first.
 * `closed` comes when all is freed. */
void store_close(struct store *store, void (*closed)(void *arg), void *arg);
/* Where the complete image is, if there is one; mem_free() it. NULL: not a name. */
char *store_path(const struct store *store, const char *name);

/* --- a piece --- */

struct store_upload;

struct store_piece {
    /* Set by the caller. The name is copied. */
    const char *name;
    uint64_t first, length, size;             /* of the image: `length` bytes at `first` of `size` */
    void (*ready)(struct store_piece *piece); /* store_write() may be called (again) */
    void (*done)(struct store_piece *piece);
    void *owner;

    /* The answer, and how much of the image is there now.
     *   -EINVAL      the name or the numbers      -EOPNOTSUPP  there are no uploads
     *   -EBUSY       a piece of it is written     -EEXIST      an image has that name
     *   -ERANGE      not the piece that comes next (see `offset`), or of another size
     *   -EFBIG       could never be stored        -ENOSPC      no room
     *   -EAGAIN      too many uploads at a time   -ECANCELED   store_cut(), or the store closes
     * or what the system said. What was written stays whatever the answer. */
    int status;
    char error[STORE_ERROR_MAX]; /* with a status */
    uint64_t offset;
    bool complete;             /* it was the last piece */
    char sha256[STORE_SHA256]; /* of the image, when it is complete */

    struct store *store; /* private from here on */
    struct store_upload *upload;
    struct link link;
    struct defer answer;
    struct store_job job;
    struct work work;
    struct store_buffer {
        unsigned char *data;
        size_t used, room;
    } filling, writing;
    uint64_t taken;
    bool begun, running, is_ready, cut;
};

void store_put(struct store *store, struct store_piece *piece);
/* Copies bytes, at most what is left of the piece. False: enough for now, until `ready`. */
bool store_write(struct store_piece *piece, const void *data, size_t length);
/* There is no more: the piece ends with what it was given. */
void store_cut(struct store_piece *piece);

/* --- what is there --- */

struct store_list {
    void (*done)(struct store_list *list); /* set by the caller */
    void *owner;

    int status; /* the rest is valid in `done` only */
    const struct store_entry *entries;
    unsigned count;
    uint64_t free; /* bytes a new upload may have */

    struct store_job job; /* private from here on */
    struct defer answer;
    struct store_entry *found;
};

void store_list(struct store *store, struct store_list *list);

/* An empty USB stick (store/stick.h). */
struct store_making {
    const char *name, *label; /* set by the caller, and looked at by it; must stay until `done` */
    uint64_t size;
    void (*done)(struct store_making *making);
    void *owner;

    int status; /* -EINVAL: the size; -EEXIST; -EFBIG, -ENOSPC, -EAGAIN, -ECANCELED: as of a piece */

    struct store_job job; /* private from here on */
    struct defer answer;
};

void store_make(struct store *store, struct store_making *making);

/* A piece of a complete image, for who takes it home. */
struct store_reading {
    const char *name;                              /* set by the caller; must stay until `done` */
    uint64_t offset;
    uint32_t length;                               /* 0: only `size` is asked for */
    uint64_t version;                              /* 0 at first; the same image is meant from then on */
    void (*done)(struct store_reading *reading);   /* as all these: once, not inside the call */

    int status;         /* -ENOENT: there is none; -ESTALE: another one has its name */
    uint64_t size;      /* of the image */
    struct slices data; /* with status 0; the caller's */

    struct store *store; /* private from here on */
    struct bytes *bytes;
    struct work work;
};

/* The name must be one (store/name.h). */
void store_read(struct store *store, struct store_reading *reading);

struct store_removal {
    const char *name; /* set by the caller; must stay until `done` */
    void (*done)(struct store_removal *removal);
    void *owner;

    int status; /* -EINVAL: not a name; -ENOENT; -EBUSY: a piece of it is written */

    struct store_job job; /* private from here on */
    struct defer answer;
};

/* Removes the image, complete or partial. A process that has the image open keeps what it has open. */
void store_remove(struct store *store, struct store_removal *removal);

#endif
