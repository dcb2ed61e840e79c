/* Pieces: see store/store_internal.h. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "store/store_internal.h"

#define FILLING_MAX (STORE_BUFFER_MAX / 2) /* the other half is being written meanwhile */

static void piece_next(struct store_piece *piece);
static void pieces_start(struct store *store);

/* --- the answer --- */

static void store_piece_answer(struct store_piece *piece)
{
    struct store *store = piece->store;
    mem_free(piece->filling.data);
    mem_free(piece->writing.data);
    piece->done(piece);
    store_call_done(store);
}

static void on_answer(struct defer *defer)
{
    store_piece_answer(container_of(defer, struct store_piece, answer));
}

static void answer_later(struct store_piece *piece, int status)
{
    piece->status = status;
    defer_schedule(piece->store->loop, &piece->answer);
}

/* The piece lets go of its upload, of which the hash is kept for the next one. */
static void leave_upload(struct store_piece *piece)
{
    struct store_upload *upload = piece->upload;
    upload->piece = NULL;
    upload->used_at = uv_now(piece->store->loop);
    if (!upload->part.hash)
        store_upload_drop(piece->store, upload);
}

static void piece_done(struct store_piece *piece)
{
    struct store *store = piece->store;
    const struct part *part = &piece->upload->part;
    piece->offset = part->offset;
    piece->complete = part->complete;
    if (part->complete)
        memcpy(piece->sha256, part->sha256, sizeof piece->sha256);
    leave_upload(piece);
    store->writers--;
    pieces_start(store);
    store_piece_answer(piece);
}

/* --- the steps --- */

static void on_begin_run(struct store_job *job)
{
    struct store_piece *piece = container_of(job, struct store_piece, job);
    piece->status = part_begin(&piece->upload->part, &piece->store->folder, piece, piece->error);
}

static void on_begin_done(struct store_job *job)
{
    struct store_piece *piece = container_of(job, struct store_piece, job);
    piece->running = false;
    piece->begun = true;
    if (piece->status != 0)
        piece_done(piece);
    else
        piece_next(piece);
}

static void on_end_run(struct store_job *job)
{
    struct store_piece *piece = container_of(job, struct store_piece, job);
    piece->status = part_end(&piece->upload->part, &piece->store->folder, piece->status, piece->error);
}

static void on_end_done(struct store_job *job)
{
    struct store_piece *piece = container_of(job, struct store_piece, job);
    if (piece->status == 0 && piece->taken < piece->length)
        piece->status = store_fail(piece->error, -ECANCELED, "%s was cut off.", piece->upload->part.name);
    piece_done(piece);
}

static void on_hash_run(struct work *work)
{
    struct store_piece *piece = container_of(work, struct store_piece, work);
    piece->status = part_hash_step(&piece->upload->part, piece->error);
}

static void on_write_run(struct work *work)
{
    struct store_piece *piece = container_of(work, struct store_piece, work);
    piece->status = part_write(&piece->upload->part, piece->writing.data, piece->writing.used, piece->error);
}

static void on_step_done(struct work *work)
{
    struct store_piece *piece = container_of(work, struct store_piece, work);
    piece->running = false;
    piece_next(piece);
}

static void start_writing(struct store_piece *piece)
{
    struct store_buffer full = piece->filling;
    piece->filling = piece->writing;
    piece->filling.used = 0;
    piece->writing = full;
    work_start(piece->store->loop, &piece->work, on_write_run, on_step_done);
}

/* Looks at nothing that a thread may be changing. */
static void tell_ready(struct store_piece *piece)
{
    bool wanted = !piece->cut && piece->taken < piece->length && piece->filling.used < FILLING_MAX;
    if (piece->is_ready || !wanted)
        return;
    piece->is_ready = true;
    piece->ready(piece);
}

/* Whatever is to be done next, if nothing is being done. */
static void piece_next(struct store_piece *piece)
{
    if (piece->running || !piece->begun)
        return;
    bool hashed = part_is_hashed(&piece->upload->part), over = piece->cut || piece->taken == piece->length;
    piece->running = true;
    if (piece->status != 0 || (over && (piece->filling.used == 0 || !hashed))) {
        store_job_add(piece->store, &piece->job, on_end_run, on_end_done);
    } else if (!hashed) {
        work_start(piece->store->loop, &piece->work, on_hash_run, on_step_done);
    } else if (piece->filling.used > 0) {
        start_writing(piece);
        tell_ready(piece);
    } else {
        piece->running = false;
        tell_ready(piece);
    }
}

/* --- what the caller does --- */

/* Makes room for `length` bytes, but for no more than the piece may still bring. */
static void make_place(struct store_buffer *buffer, size_t length, uint64_t left)
{
    size_t needed = buffer->used + length;
    if (needed <= buffer->room)
        return;
    uint64_t most = buffer->used + left;
    buffer->room = needed > FILLING_MAX ? needed : most < FILLING_MAX ? (size_t)most : FILLING_MAX;
    buffer->data = mem_realloc(buffer->data, buffer->room);
}

bool store_write(struct store_piece *piece, const void *data, size_t length)
{
    struct store_buffer *filling = &piece->filling;
    assert(piece->is_ready && length <= piece->length - piece->taken);
    if (piece->cut || length == 0)
        return piece->is_ready;
    make_place(filling, length, piece->length - piece->taken);
    memcpy(filling->data + filling->used, data, length);
    filling->used += length;
    piece->taken += length;
    piece_next(piece);
    piece->is_ready = piece->filling.used < FILLING_MAX;
    return piece->is_ready;
}

void store_cut(struct store_piece *piece)
{
    if (piece->cut)
        return;
    piece->cut = true;
    if (list_empty(&piece->link)) {
        piece_next(piece);
        return;
    }
    list_remove(&piece->link); /* the piece has not begun yet */
    leave_upload(piece);
    answer_later(piece, store_fail(piece->error, -ECANCELED, "The upload was cut off."));
}

static void pieces_start(struct store *store)
{
    while (store->writers < STORE_WRITERS_MAX && !list_empty(&store->pieces)) {
        struct store_piece *piece = container_of(list_pop(&store->pieces), struct store_piece, link);
        store->writers++;
        piece->running = true;
        store_job_add(store, &piece->job, on_begin_run, on_begin_done);
    }
}

/* --- a new piece --- */

static const char *numbers_problem(const struct store_piece *piece)
{
    if (piece->length == 0)
        return "There is nothing to store.";
    return piece->size > INT64_MAX || piece->first >= piece->size || piece->length > piece->size - piece->first
               ? "The piece is not one of the image's."
               : NULL;
}

/* Makes room for one more upload: of those without a piece, the one that was used longest ago goes, with its hash. */
static bool store_piece_make_room(struct store *store)
{
    struct store_upload *oldest = NULL;
    if (store->upload_count < STORE_COUNT_MAX)
        return true;
    list_for_each (l, &store->uploads) {
        struct store_upload *upload = container_of(l, struct store_upload, link);
        if (!upload->piece && (!oldest || upload->used_at < oldest->used_at))
            oldest = upload;
    }
    store_upload_drop(store, oldest);
    return oldest != NULL;
}

static struct store_upload *upload_for(struct store *store, const char *name)
{
    struct store_upload *upload = store_upload_find(store, name);
    if (upload || !store_piece_make_room(store))
        return upload;
    upload = mem_alloc(sizeof *upload);
    part_init(&upload->part, name);
    list_append(&store->uploads, &upload->link);
    store->upload_count++;
    return upload;
}

static void piece_init(struct store *store, struct store_piece *piece)
{
    piece->status = 0;
    piece->error[0] = piece->sha256[0] = '\0';
    piece->offset = piece->taken = 0;
    piece->store = store;
    piece->upload = NULL;
    piece->filling = piece->writing = (struct store_buffer){.data = NULL};
    piece->begun = piece->running = piece->is_ready = piece->cut = piece->complete = false;
    list_init(&piece->link);
    defer_setup(&piece->answer, on_answer);
}

/* 0, and the piece has its upload; or the status with which it is refused. */
static int store_piece_admit(struct store *store, struct store_piece *piece)
{
    if (store->closing)
        return store_fail(piece->error, -ECANCELED, "The daemon is stopping.");
    const char *problem = store_name_problem(piece->name);
    problem = problem ? problem : numbers_problem(piece);
    if (problem)
        return store_fail(piece->error, -EINVAL, "%s", problem);
    if (store->folder.max_bytes == 0)
        return store_fail(piece->error, -EOPNOTSUPP, "Uploads are turned off.");
    piece->upload = upload_for(store, piece->name);
    if (!piece->upload)
        return store_fail(piece->error, -EAGAIN, "There are too many uploads at a time: try again.");
    if (piece->upload->piece)
        return store_fail(piece->error, -EBUSY, "%s is being uploaded already.", piece->name);
    return 0;
}

void store_put(struct store *store, struct store_piece *piece)
{
    piece_init(store, piece);
    store->pending++;
    int status = store_piece_admit(store, piece);
    if (status != 0) {
        answer_later(piece, status);
        return;
    }
    piece->upload->piece = piece;
    list_append(&store->pieces, &piece->link);
    pieces_start(store);
}
