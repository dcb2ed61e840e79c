/*
 * What is taken home: a stored image (GET /api/uploads/NAME), and the medium of a slot as its host sees it, with what that
 * wrote (GET /api/slots/NAME/medium). Piece by piece, one in memory at a time, from any byte on (Range). See api/web/handlers.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/site/access.h"
#include "api/web/handlers.h"
#include "auth/audit.h"
#include "base/text.h"
#include "http/content.h"
#include "slot/slot_read.h"

#define DOWNLOAD_PIECE SLOT_READ_MAX

struct download {
    struct site *site;
    struct store *store;          /* NULL: it is a slot's medium */
    struct http_request *request; /* NULL: the client is gone */
    char *name;                   /* of the stored image, or of the slot */
    char user[USER_NAME_MAX + 1], peer[SITE_PEER_MAX];
    enum auth_role role;
    struct session_attachment session;
    bool begun, running;
    uint64_t size, at, end, medium;
    char file_name[STORE_NAME_MAX + 1];
    union {
        struct slot_read read;
        struct store_reading reading;
    };
};

/* --- its end --- */

static void download_free(struct download *d)
{
    session_detach(&d->session);
    mem_free(d->name);
    mem_free(d);
}

static void on_web_download_gone(struct http_request *request)
{
    struct download *d = request->owner;
    d->request = NULL;
    if (!d->running)
        download_free(d);
}

/* Whoever gets less than was announced sees that it is not whole. */
static void download_fail(struct download *d, unsigned status, const char *words)
{
    struct http_request *request = d->request;
    bool begun = d->begun;
    if (d->running)
        d->request = NULL;
    else
        download_free(d);
    if (!request)
        return;
    if (begun)
        http_abort(request);
    else
        api_reply_error(request, status, "%s", words);
}

static void on_web_download_session_ended(struct session_attachment *attachment, const struct session *session)
{
    struct download *d = container_of(attachment, struct download, session);
    if (!session->aged) /* what was begun in time may be ended */
        download_fail(d, 401, "The session has ended.");
}

/* --- the head --- */

/* The name as RFC 8187 has it: a browser takes it from here and not from the URL. */
static void add_disposition(struct http_request *request, const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char value[3 * STORE_NAME_MAX + 40];
    size_t used = (size_t)sprintf(value, "attachment; filename*=UTF-8''");
    for (size_t i = 0; name[i] && i < STORE_NAME_MAX; i++)
        used += (size_t)sprintf(value + used, strchr(plain, name[i]) ? "%c" : "%%%02X", (unsigned char)name[i]);
    http_add_field(request, "Content-Disposition", value);
}

static void add_content_range(struct http_request *request, const struct download *d, bool part)
{
    char text[80];
    if (part)
        snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, d->at, d->end - 1, d->size);
    else
        snprintf(text, sizeof text, "bytes */%" PRIu64, d->size);
    http_add_field(request, "Content-Range", text);
}

/* There is no ETag here: a client that wants a part only if it is of the same content (If-Range) gets all. */
static enum http_range download_range(const struct download *d, uint64_t *first, uint64_t *last)
{
    bool whole = strcmp(d->request->method, "GET") != 0 || http_field(d->request, "If-Range");
    return http_range_parse(whole ? NULL : http_field(d->request, "Range"), d->size, first, last);
}

/* False: the request is answered. */
static bool download_head(struct download *d)
{
    uint64_t first, last;
    enum http_range range = download_range(d, &first, &last);
    http_add_field(d->request, "Accept-Ranges", "bytes");
    if (range == HTTP_RANGE_UNSATISFIABLE) {
        add_content_range(d->request, d, false);
        download_fail(d, 416, "The range is not in the image.");
        return false;
    }
    d->at = range == HTTP_RANGE_PART ? first : 0;
    d->end = range == HTTP_RANGE_PART ? last + 1 : d->size;
    if (range == HTTP_RANGE_PART)
        add_content_range(d->request, d, true);
    add_disposition(d->request, d->file_name);
    http_add_field(d->request, "Content-Type", "application/octet-stream");
    http_add_field(d->request, "Cache-Control", "no-store");
    http_add_field(d->request, "X-Content-Type-Options", "nosniff");
    http_add_field(d->request, "Content-Security-Policy", "sandbox");
    http_begin(d->request, range == HTTP_RANGE_PART ? 206 : 200, (int64_t)(d->end - d->at));
    d->begun = true;
    auth_audit(AUDIT_DOWNLOAD, d->user, d->peer, d->name, NULL);
    return true;
}

/* --- the pieces --- */

static void download_next(struct download *d);

static void download_piece(struct download *d, int status, struct slices *data)
{
    d->running = false;
    if (!d->request) {
        slices_clear(data);
        download_free(d);
    } else if (status != 0) {
        slices_clear(data);
        download_fail(d, status == -ENOENT ? 404 : 500, status == -ENOENT ? "There is no such image." : strerror(-status));
    } else {
        d->at += data->length;
        http_write(d->request, data);
        if (http_unsent(d->request) == 0)
            download_next(d);
    }
}

static void on_web_download_read(struct slot_read *read)
{
    struct download *d = container_of(read, struct download, read);
    download_piece(d, read->status, &read->data);
}

static void on_web_download_reading(struct store_reading *reading)
{
    struct download *d = container_of(reading, struct download, reading);
    if (!d->begun && d->request && reading->status == 0) { /* the size is known now */
        d->running = false;
        d->size = reading->size;
        if (download_head(d))
            download_next(d);
        return;
    }
    download_piece(d, reading->status, &reading->data);
}

static void download_ask_store(struct download *d, uint32_t length)
{
    d->reading.name = d->name;
    d->reading.offset = d->at;
    d->reading.length = length;
    d->reading.done = on_web_download_reading;
    store_read(d->store, &d->reading);
}

static void download_next(struct download *d)
{
    uint64_t left = d->end - d->at;
    uint32_t length = left < DOWNLOAD_PIECE ? (uint32_t)left : DOWNLOAD_PIECE;
    struct http_request *request = d->request;
    if (left == 0 || strcmp(request->method, "HEAD") == 0) {
        download_free(d);
        http_end(request);
        return;
    }
    if (!access_still_allowed(d->site, d->user, d->role)) {
        download_fail(d, 401, "The account was changed.");
        return;
    }
    d->running = true;
    if (d->store) {
        download_ask_store(d, length);
        return;
    }
    d->read.offset = d->at;
    d->read.length = length;
    d->read.done = on_web_download_read;
    slot_read(d->site->loop, slots_find(d->site->slots, d->name), d->medium, &d->read);
}

static void on_web_download_drain(struct http_request *request)
{
    struct download *d = request->owner;
    if (!d->running)
        download_next(d);
}

/* --- its beginning --- */

static struct download *download_new(struct site *site, struct http_request *request, const struct api_caller *caller,
                                     const char *name)
{
    struct download *d = mem_alloc(sizeof *d);
    d->site = site;
    d->request = request;
    d->name = mem_strdup(name);
    d->role = caller->role;
    snprintf(d->user, sizeof d->user, "%s", caller->user);
    snprintf(d->peer, sizeof d->peer, "%s", caller->peer);
    list_init(&d->session.link);
    d->session.ended = on_web_download_session_ended;
    if (caller->session)
        session_attach(caller->session, &d->session);
    request->owner = d;
    request->on_gone = on_web_download_gone;
    request->on_drain = on_web_download_drain;
    return d;
}

void download_stored(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                     char **words)
{
    const char *problem = store_name_problem(words[2]);
    if (problem || !auth_allows(caller->role, AUTH_CONFIGURE_COMPONENTS)) {
        api_reply_error(request, problem ? 400 : 403, "%s",
                        problem ? problem : "Who may only look at the slots does not get what is in an image.");
        return;
    }
    struct download *d = download_new(parts->site, request, caller, words[2]);
    d->store = parts->store;
    snprintf(d->file_name, sizeof d->file_name, "%s", words[2]);
    d->running = true;
    download_ask_store(d, 0); /* how large is it? */
}

void download_medium(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                     char **words)
{
    struct slot *slot = slots_find(parts->site->slots, words[2]);
    struct slot_status s;
    uint64_t size, medium;
    if (!slot) {
        api_reply_error(request, 404, "There is no such slot.");
        return;
    }
    slot_get_status(slot, &s);
    if (!slot_readable(slot, &size, &medium)) {
        api_reply_error(request, 409, "%s: there is no medium that could be read.", s.name);
        return;
    }
    struct download *d = download_new(parts->site, request, caller, s.name);
    d->size = size;
    d->medium = medium;
    snprintf(d->file_name, sizeof d->file_name, "%.*s", STORE_NAME_MAX, *s.image_name ? s.image_name : s.name);
    if (download_head(d))
        download_next(d);
}
