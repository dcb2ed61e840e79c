/* The reads of remote/smb/connection.h: in pieces, and checked. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "remote/smb/internal.h"
#include "remote/smb/status.h"

/* One READ. Once it is given to the library, it lives until the library is done with its memory, even if nobody waits
 * any more. */
struct piece {
    struct smb *smb;
    struct smb_read *read; /* NULL: nobody waits */
    struct link link;      /* in smb->waiting or smb->pieces */
    struct bytes *bytes;
    uint64_t offset;
    uint32_t done, length; /* `length`: of the whole piece */
};

static void smb_read_read_end(struct smb_read *read, int status, const char *error)
{
    read->status = status;
    snprintf(read->error, sizeof read->error, "%s", error);
    if (status != 0)
        slices_clear(&read->data);
    list_remove(&read->link);
    list_append(&read->smb->finished, &read->link);
    smb_tell(read->smb);
}

static void check_reads(struct smb *smb);
static void pieces_ask(struct smb *smb);

/* The answer is for all reads whose data was there when it was asked for. */
static void on_checked(struct smb2_context *library, int status, void *data, void *arg)
{
    struct smb *smb = arg;
    struct smb_file now = {0};
    (void)library;
    if (!smb_answered(smb, status))
        return;
    smb->asking = false;
    bool known = smb_facts(smb, status, data, &now);
    if (smb->ending)
        return;
    if (!known) {
        smb_refused(smb, (uint32_t)status);
        return;
    }
    uint64_t round_trip = smb_now_us() - smb->asked_us;
    bool same = now.size == smb->file.size && now.written == smb->file.written && now.changed == smb->file.changed;
    list_for_each (l, &smb->checking) {
        struct smb_read *read = container_of(l, struct smb_read, link);
        read->round_trip_us = round_trip;
        if (same)
            smb_read_read_end(read, 0, "");
        else
            smb_read_read_end(read, -ESTALE, "the image changed on the server (eject and insert it again)");
    }
    check_reads(smb);
    pieces_ask(smb); /* the pieces may have waited for this request's credit */
}

static void check_reads(struct smb *smb)
{
    if (smb->asking || list_empty(&smb->read) || smb->stage != SMB_OPEN)
        return;
    list_move_all(&smb->checking, &smb->read);
    smb->asking = true;
    smb->asked_us = smb_now_us();
    smb_query(smb, SMB2_FILE_NETWORK_OPEN_INFORMATION, on_checked);
}

static void piece_free(struct piece *piece)
{
    list_remove(&piece->link);
    bytes_unref(piece->bytes);
    mem_free(piece);
}

/* Nobody waits for the read's pieces any more. */
static void read_leave(struct smb_read *read)
{
    list_for_each (l, &read->smb->waiting)
        if (container_of(l, struct piece, link)->read == read)
            piece_free(container_of(l, struct piece, link));
    list_for_each (l, &read->smb->pieces)
        if (container_of(l, struct piece, link)->read == read)
            container_of(l, struct piece, link)->read = NULL;
}

/* The session or the file is gone at the server: another connection may have it again. */
static bool is_lost(uint32_t status)
{
    return status == SMB2_STATUS_FILE_CLOSED || status == SMB2_STATUS_USER_SESSION_DELETED ||
           status == SMB2_STATUS_NETWORK_NAME_DELETED || status == SMB_STATUS_SESSION_EXPIRED;
}

static void piece_failed(struct piece *piece, uint32_t status)
{
    struct smb_read *read = piece->read;
    char words[SMB_ERROR_MAX];
    if (is_lost(status)) {
        smb_fail(piece->smb, true, 0, "the server has closed the image: %s", nterror_to_str(status));
        return;
    }
    snprintf(words, sizeof words, "the server can't read the image: %s", nterror_to_str(status));
    bool ended = status == SMB2_STATUS_END_OF_FILE || status == 0;
    read_leave(read);
    smb_read_read_end(read, ended ? -ENODATA : -EIO, ended ? "the image ends before its size" : words);
}

static void on_smb_read_piece(struct smb2_context *library, int status, void *data, void *arg);

/* Gives the piece to the library, which asks for less when it has less credit; without any it would ask for nothing. */
static bool smb_read_piece_ask(struct piece *piece)
{
    struct smb *smb = piece->smb;
    uint8_t *at = piece->bytes->data + piece->done;
    int status = smb2_pread_async(smb->library, smb->handle, at, piece->length - piece->done,
                                  piece->offset + piece->done, on_smb_read_piece, piece);
    if (status != 0)
        smb_fail(smb, true, status, "libsmb2: %s", smb2_get_error(smb->library));
    else
        smb_await(smb);
    return status == 0;
}

static bool may_ask(const struct smb *smb)
{
    if (smb->guard.sealed)
        return smb->piece_count < SMB_PIECES_SEALED;
    bool credit = smb->guard.credits > 0 || smb2_get_dialect(smb->library) == SMB2_VERSION_0202;
    return smb->piece_count < SMB_PIECES_MAX && credit;
}

static void pieces_ask(struct smb *smb)
{
    while (smb->stage == SMB_OPEN && !list_empty(&smb->waiting) && may_ask(smb)) {
        struct piece *piece = container_of(list_pop(&smb->waiting), struct piece, link);
        list_append(&smb->pieces, &piece->link);
        smb->piece_count++;
        if (!smb_read_piece_ask(piece)) {
            smb->piece_count--;
            piece_free(piece);
        }
    }
}

static void piece_arrived(struct piece *piece)
{
    struct smb *smb = piece->smb;
    struct smb_read *read = piece->read;
    piece_free(piece);
    if (--read->pieces == 0) {
        list_remove(&read->link);
        list_append(&smb->read, &read->link);
        check_reads(smb);
    }
}

/* `status`: the bytes that came, or a negative errno. */
static void on_smb_read_piece(struct smb2_context *library, int status, void *data, void *arg)
{
    struct piece *piece = arg;
    struct smb *smb = piece->smb;
    (void)data;
    smb_answered(smb, 0);
    smb->piece_count--;
    if (smb->ending || !piece->read) {
        piece_free(piece);
    } else if (status <= 0 || (uint32_t)status > piece->length - piece->done) {
        piece_failed(piece, status < 0 ? smb_last_status(library) : 0);
        piece_free(piece);
    } else {
        piece->read->received += (uint32_t)status;
        piece->done += (uint32_t)status;
        list_remove(&piece->link);
        if (piece->done == piece->length)
            piece_arrived(piece);
        else
            list_prepend(&smb->waiting, &piece->link); /* a server may give less than asked for */
    }
    if (!smb->ending)
        pieces_ask(smb);
}

void smb_read_start(struct smb *smb, struct smb_read *read, uint64_t offset, uint32_t length)
{
    read->smb = smb;
    read->received = read->round_trip_us = 0;
    read->pieces = (length + smb->piece - 1) / smb->piece;
    list_init(&read->link);
    list_append(&smb->reading, &read->link);
    for (uint32_t at = 0; at < length; at += smb->piece) {
        struct piece *piece = mem_alloc(sizeof *piece);
        piece->smb = smb;
        piece->read = read;
        piece->offset = offset + at;
        piece->length = length - at < smb->piece ? length - at : smb->piece;
        piece->bytes = bytes_new(piece->length);
        if (smb->guard.sealed) /* how much libsmb2 really fills is not checked then */
            memset(piece->bytes->data, 0, piece->length);
        slices_add(&read->data, piece->bytes, 0, piece->length);
        list_init(&piece->link);
        list_append(&smb->waiting, &piece->link);
    }
    pieces_ask(smb);
    smb_stream_send(smb);
}

void smb_read_cancel(struct smb_read *read)
{
    if (!read->smb)
        return;
    read_leave(read);
    list_remove(&read->link);
    slices_clear(&read->data);
    read->smb = NULL;
}
