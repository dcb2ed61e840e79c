/* What the files of remote/smb/connection.h share: the stream below libsmb2, and what is asked of it. */
#ifndef REMOTE_SMB_INTERNAL_H
#define REMOTE_SMB_INTERNAL_H

/* libsmb2's headers need what stands before them. */
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <smb2/smb2.h>

#include <smb2/libsmb2.h>

#include <smb2/libsmb2-raw.h>
#include <smb2/smb2-errors.h>

#include "base/closing.h"
#include "remote/smb/connection.h"
#include "remote/smb/guard.h"

#define SMB_OUT_MAX       (64u << 10)
#define SMB_IN_MAX        (128u << 10) /* has room for a whole message without data */
#define SMB_PIECES_MAX    256u         /* READs under way */
#define SMB_PIECES_SEALED 4u           /* ... sealed: how many credits there are can't be seen then */
#define SMB_TURN_MAX      (256u << 10) /* bytes taken in one turn of the loop */

enum smb_stage { SMB_CONNECTING, SMB_LOGIN, SMB_SHARE, SMB_FILE, SMB_OPEN, SMB_FAILED };

struct smb {
    uv_loop_t *loop;
    struct smb2_context *library;
    enum smb_stage stage;
    bool ending; /* the library's callbacks do nothing but free */
    struct smb_guard guard;

    /* The stream. */
    int tcp, pair;  /* -1: none */
    uv_poll_t poll; /* on tcp */
    int polled;     /* for these events; 0: stopped */
    uint8_t *out, *in;
    size_t out_used, out_checked, out_sent; /* sent <= checked <= used */
    size_t in_used;
    uint64_t passing; /* bytes of the answer under way that go to the library as they are */
    uv_timer_t timer;
    uint64_t heard; /* loop time of the last byte, or of the first request after a pause */

    /* What is asked. */
    struct smb_events events;
    void *owner;
    char *server, *share, *path;
    bool guest, must_seal, newest;
    bool newest_may_do;
    uint64_t stall_timeout_ms;
    smb2_file_id id;
    struct smb2fh *handle; /* the library's own handle of the same file */
    struct smb_file file;
    uint32_t piece;   /* bytes of a READ at most */
    unsigned awaited; /* answers */
    bool asking;      /* size and times are being asked for */
    unsigned unknown; /* how many answers are missing until the file is known */
    uint64_t asked_us;
    uint64_t round_trip_us;
    struct link reading, read, checking; /* reads: data awaited; all there; what was asked since then is awaited */
    struct link finished;                /* done() is due */
    struct link waiting, pieces;         /* pieces of reads: not asked for yet; in the library's hands */
    unsigned piece_count;                /* pieces that the library has */

    bool failure_due, opened_due, transient;
    int reason;
    char error[SMB_ERROR_MAX];
    struct defer defer; /* tells the owner */
    struct closing closing;
};

/* --- stream.c --- */

/* Starts connecting: the library has begun to, and its socket is replaced. */
bool smb_stream_begin(struct smb *smb);
/* After each call that may have queued a request. */
void smb_stream_send(struct smb *smb);
/* To be called before the library's context is freed, which closes its own socket. */
void smb_stream_end(struct smb *smb);

/* --- smb.c --- */

/* The connection has failed: `failed` comes later. Only the first call counts. */
__attribute__((format(printf, 4, 5))) void smb_fail(struct smb *smb, bool transient, int reason, const char *format,
                                                    ...);
void smb_tell(struct smb *smb); /* tells the owner what is due, soon */
/* Hands over a request; NULL: libsmb2 could not make it. Each callback calls smb_answered()
 * first; false: the answer is still to come. */
void smb_queue(struct smb *smb, struct smb2_pdu *pdu);
bool smb_answered(struct smb *smb, int status);
void smb_await(struct smb *smb); /* for what the library queues itself */
/* The NT status in the library's last error, where it gives but an errno. 0: none. */
uint32_t smb_last_status(struct smb2_context *library);

/* --- login.c --- */

void smb_on_login(struct smb2_context *library, int status, void *data, void *arg);
void smb_refused(struct smb *smb, uint32_t status); /* fails, with what the status means */
void smb_query(struct smb *smb, uint8_t class, smb2_command_cb on_answer);
/* Size and times of an answer to SMB2_FILE_NETWORK_OPEN_INFORMATION; false: it has none. */
bool smb_facts(struct smb *smb, int status, struct smb2_query_info_reply *reply, struct smb_file *file);

static inline uint64_t smb_now_us(void)
{
    return uv_hrtime() / 1000;
}

#endif
