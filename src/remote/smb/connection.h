/*
 * One file on a share of an SMB2 or SMB3 server, open for reading: a connection, a login (NTLMv2), the
 * share, the file, by libsmb2 on the loop.
 *
 * libsmb2 gets its own end of a socket pair in place of the server's socket, so that all it receives has
 * been looked at before (remote/smb/guard.h), and a name is never resolved by it: the address is given.
 *
 * libsmb2 signs and seals in plain C, on the loop, a message at a time: a core that does 80 MB/s of SMB2 does 20 of
 * SMB3, and 8 sealed. When a connection breaks at a wrong signature under an answer about the file, libsmb2 6.2
 * forgets 144 bytes of memory.
 *
 * The file is opened so that nobody may open it for writing meanwhile. A change all the same (on the server itself,
 * say) shows in the file's size and times: after the data of a read has come the server is asked for these, and the
 * read is only done if they are the same as before.
 *
 * `opened` or `failed` comes once, later `failed` may come after `opened`: from the loop, never inside a call.
 * After `failed` and smb_close() nothing comes any more; reads under way are forgotten, their data too.
 *
 * Bounds (those without a number here are in remote/smb/internal.h): SMB_PIECE bytes in a message,
 * SMB_PIECES_MAX of them under way, SMB_OUT_MAX bytes to be sent, and SMB_IN_MAX received and not looked at.
 */
#ifndef REMOTE_SMB_CONNECTION_H
#define REMOTE_SMB_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/list.h"

#define SMB_ERROR_MAX   512
#define SMB_PIECE       (256u << 10) /* bytes of one READ */
#define SMB_PIECE_KEYED (64u << 10)  /* ... that is signed or sealed: libsmb2 does that in one go, on the loop */

/* Strings are copied. Without a user the login is a guest's, and nothing is signed. */
struct smb_options {
    const struct sockaddr *address;       /* with its port */
    const char *server;                   /* as the share's name has it */
    const char *share, *path;             /* UTF-8; the path with '/' and none in front */
    const char *user, *domain, *password; /* NULL or "": none */
    bool must_seal;
    bool newest; /* SMB3 too; else SMB2 only, which libsmb2 signs four times as fast (by HMAC-SHA256, not AES-CMAC) */
    uint64_t connect_timeout_ms; /* until the file is open */
    uint64_t stall_timeout_ms;   /* without a byte, when something is awaited */
};

/* Times in units of 100 ns since 1601, or what the library keeps of them. */
struct smb_file {
    uint64_t size, index, written, changed;
};

struct smb;

struct smb_read {
    /* The result: valid in `done`. */
    int status;             /* 0, or -ESTALE the file changed, -EIO a read failed, -ENODATA it ends before */
    struct slices data;     /* 0: exactly what was asked for; `done` may take it */
    uint64_t received;      /* bytes, also of a failure */
    uint64_t round_trip_us; /* 0: not measured */
    char error[SMB_ERROR_MAX];

    void *owner;
    void (*done)(struct smb_read *read); /* from the loop, never inside a call; may start again or free */

    /* Internal. */
    struct smb *smb;
    struct link link;
    unsigned pieces; /* that have not come */
};

struct smb_events {
    void (*opened)(void *owner, const struct smb_file *file, uint64_t round_trip_us);
    /* `transient`: it may pass. `reason`: a negative errno, or 0. `error` is in words, and without secrets. */
    void (*failed)(void *owner, bool transient, int reason, const char *error);
};

struct smb *smb_open(uv_loop_t *loop, const struct smb_options *options, const struct smb_events *events, void *owner);
/* Inside `failed`: a connection with `newest` may do better. */
bool smb_newest_may_do(const struct smb *smb);
/* Sets who is told of events from now on. */
void smb_set_owner(struct smb *smb, const struct smb_events *events, void *owner);
/* From `opened` until `failed`; within the file's size, length > 0. `data` must be an empty list. */
void smb_read_start(struct smb *smb, struct smb_read *read, uint64_t offset, uint32_t length);
void smb_read_cancel(struct smb_read *read); /* `done` does not come; legal when idle */
/* Legal at any time. It frees itself, by and by; its reads are forgotten. */
void smb_close(struct smb *smb); /* NULL is allowed */

#endif
