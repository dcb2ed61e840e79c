#include "api/web/uploads.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auth/audit.h"
#include "base/text.h"
#include "http/content_range.h"

#define BETWEEN_MS   10000 /* an image whose last piece came that lately is still being uploaded */
#define BETWEEN_EACH 16    /* images of which that is known */

struct uploads {
    struct store *store;
    struct between {
        char *name;
        char session[SESSION_ID_MAX];
        uint64_t at_ms;
    } between[BETWEEN_EACH]; /* pieces */
    bool (*in_use)(void *arg, const char *name);
    void *arg;
    struct link requests; /* struct upload_request */
};

/* A request in work. The client may go away before the store is done with it. */
struct upload_request {
    struct link link; /* in uploads->requests; alone when those are gone */
    struct uploads *uploads;
    struct http_request *request; /* NULL: gone */
    char *name, *user, *peer;
    struct session_attachment session; /* on none when the request came with its password */
    bool puts, receives;
    bool wants;                           /* bytes are wanted, whether the client sends any or not */
    uint64_t heard_ms;                    /* when the client last sent some, or was first asked to */
    struct upload_request *before, *next; /* this piece is put once that of `before` is done */
    union {
        struct store_piece piece;
        struct store_list list;
        struct store_removal removal;
    };
};

struct uploads *uploads_new(struct store *store, bool (*in_use)(void *arg, const char *name), void *arg)
{
    struct uploads *uploads = mem_alloc(sizeof *uploads);
    uploads->store = store;
    uploads->in_use = in_use;
    uploads->arg = arg;
    list_init(&uploads->requests);
    return uploads;
}

void uploads_free(struct uploads *uploads)
{
    while (list_pop(&uploads->requests)) { /* the store still has them */
    }
    for (unsigned i = 0; i < BETWEEN_EACH; i++)
        mem_free(uploads->between[i].name);
    mem_free(uploads);
}

/* --- what all have --- */

static void web_uploads_end(struct upload_request *r)
{
    session_detach(&r->session);
    list_remove(&r->link);
    mem_free(r->name);
    mem_free(r->user);
    mem_free(r->peer);
    mem_free(r);
}

/* Nobody is to be answered any more. What has arrived stays. */
static void abandon(struct upload_request *r)
{
    r->request = NULL;
    if (r->before) {
        r->before->next = NULL;
        web_uploads_end(r);
    } else if (r->puts) {
        store_cut(&r->piece);
    }
}

static void on_web_uploads_gone(struct http_request *request)
{
    abandon(request->owner);
}

static void request_revoke(struct upload_request *r, const char *words)
{
    struct http_request *request = r->request;
    if (!request)
        return;
    abandon(r);
    api_reply_unauthorized(request, words);
}

static void on_web_uploads_session_ended(struct session_attachment *attachment, const struct session *session)
{
    (void)session;
    request_revoke(container_of(attachment, struct upload_request, session), "The session has ended.");
}

void uploads_user_changed(struct uploads *uploads, const char *user)
{
    list_for_each (l, &uploads->requests) {
        struct upload_request *r = container_of(l, struct upload_request, link);
        if (strcmp(r->user, user) == 0 && !r->session.session)
            request_revoke(r, "The account was changed.");
    }
}

static struct upload_request *web_uploads_begin(struct uploads *uploads, struct http_request *request,
                                                const struct api_caller *caller, const char *name)
{
    struct upload_request *r = mem_alloc(sizeof *r);
    r->uploads = uploads;
    list_append(&uploads->requests, &r->link);
    r->request = request;
    r->name = mem_strdup(name);
    r->user = mem_strdup(caller->user);
    r->peer = mem_strdup(caller->peer);
    list_init(&r->session.link);
    r->session.ended = on_web_uploads_session_ended;
    if (caller->session)
        session_attach(caller->session, &r->session);
    request->owner = r;
    request->on_gone = on_web_uploads_gone;
    return r;
}

static unsigned status_code(int status)
{
    switch (status) {
    case -EINVAL:
        return 400;
    case -EOPNOTSUPP:
        return 403;
    case -ENOENT:
        return 404;
    case -EBUSY:
    case -EEXIST:
    case -ERANGE:
        return 409;
    case -EFBIG:
        return 413;
    case -ENOSPC:
        return 507;
    case -EAGAIN:
    case -ECANCELED:
        return 503;
    default:
        return 500;
    }
}

static void add_offset(struct http_request *request, uint64_t offset)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, offset);
    http_add_field(request, "Upload-Offset", text);
}

/* --- the list, and one of it --- */

static json_t *entry_json(const struct store_entry *entry)
{
    return json_pack("{s:s, s:I, s:I, s:b, s:s, s:I}", "name", entry->name, "size", (json_int_t)entry->size, "offset",
                     (json_int_t)entry->offset, "complete", entry->complete, "sha256", entry->sha256, "modified",
                     (json_int_t)entry->modified);
}

static void reply_list(struct http_request *request, const struct store_list *list)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < list->count; i++)
        json_array_append_new(all, entry_json(&list->entries[i]));
    uint64_t free = list->free < INT64_MAX ? list->free : INT64_MAX;
    api_reply_json(request, 200, json_pack("{s:o, s:I}", "uploads", all, "free", (json_int_t)free));
}

static void reply_one(struct http_request *request, const struct store_list *list, const char *name)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (strcmp(list->entries[i].name, name) != 0)
            continue;
        add_offset(request, list->entries[i].offset);
        http_add_field(request, "Cache-Control", "no-store");
        http_reply(request, 200, NULL, NULL, 0);
        return;
    }
    api_reply_error(request, 404, "There is no image %s.", name);
}

static void on_list(struct store_list *list)
{
    struct upload_request *r = list->owner;
    if (r->request && list->status != 0)
        api_reply_error(r->request, status_code(list->status), "The uploads can't be read: %s.",
                        strerror(-list->status));
    else if (r->request && r->name)
        reply_one(r->request, list, r->name);
    else if (r->request)
        reply_list(r->request, list);
    web_uploads_end(r);
}

static void get(struct uploads *uploads, struct http_request *request, const struct api_caller *caller,
                const char *name)
{
    struct upload_request *r = web_uploads_begin(uploads, request, caller, name);
    r->list.owner = r;
    r->list.done = on_list;
    store_list(uploads->store, &r->list);
}

/* --- deletion --- */

static void on_removed(struct store_removal *removal)
{
    struct upload_request *r = removal->owner;
    int status = removal->status;
    if (status == 0)
        auth_audit(AUDIT_DELETE, r->user, r->peer, r->name, NULL);
    if (r->request && status == 0)
        http_reply(r->request, 204, NULL, NULL, 0);
    else if (r->request && status == -ENOENT)
        api_reply_error(r->request, 404, "There is no image %s.", r->name);
    else if (r->request && status == -EBUSY)
        api_reply_error(r->request, 409, "%s is being uploaded.", r->name);
    else if (r->request)
        api_reply_error(r->request, status_code(status), "%s can't be deleted: %s.", r->name, strerror(-status));
    web_uploads_end(r);
}

static void delete_one(struct uploads *uploads, struct http_request *request, const struct api_caller *caller,
                       const char *name)
{
    if (uploads->in_use && uploads->in_use(uploads->arg, name)) {
        api_reply_error(request, 409, "%s is inserted: eject it first.", name);
        return;
    }
    struct upload_request *r = web_uploads_begin(uploads, request, caller, name);
    r->removal.name = r->name;
    r->removal.owner = r;
    r->removal.done = on_removed;
    store_remove(uploads->store, &r->removal);
}

/* --- a piece --- */

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void on_web_uploads_body(struct http_request *request, const uint8_t *data, size_t length)
{
    struct upload_request *r = request->owner;
    r->heard_ms = now_ms();
    r->wants = store_write(&r->piece, data, length);
    if (!r->wants)
        http_receive_more(request, false);
}

static void on_body_end(struct http_request *request)
{
    struct upload_request *r = request->owner;
    r->wants = false; /* all is here: the store counts the bytes itself */
}

static void on_web_uploads_ready(struct store_piece *piece)
{
    struct upload_request *r = piece->owner;
    r->wants = true;
    r->heard_ms = now_ms();
    if (r->receives)
        http_receive_more(r->request, true);
    else
        http_receive(r->request, piece->length, on_web_uploads_body, on_body_end);
    r->receives = true;
}

static void reply_piece(struct http_request *request, const struct store_piece *piece, const char *name)
{
    if (piece->status == -ERANGE || piece->status == -EEXIST)
        add_offset(request, piece->offset);
    json_int_t size = (json_int_t)piece->size, offset = (json_int_t)piece->offset;
    if (piece->status != 0)
        api_reply_error(request, status_code(piece->status), "%s", piece->error);
    else if (piece->complete)
        api_reply_json(request, 201, json_pack("{s:s, s:I, s:s}", "name", name, "size", size, "sha256", piece->sha256));
    else
        api_reply_json(request, 200, json_pack("{s:I}", "offset", offset));
}

static struct between *find_between(struct uploads *uploads, const char *name)
{
    struct between *oldest = uploads->between;
    for (unsigned i = 0; i < BETWEEN_EACH; i++) {
        struct between *one = &uploads->between[i];
        if (one->name && strcmp(one->name, name) == 0)
            return one;
        if (one->at_ms < oldest->at_ms)
            oldest = one;
    }
    return oldest;
}

/* A piece has been put, and more are to come. */
static void note_between(const struct upload_request *r, const struct store_piece *piece)
{
    const struct session *session = r->session.session;
    if (list_empty(&r->link)) /* the uploads are gone */
        return;
    struct between *one = find_between(r->uploads, r->name);
    bool more = session && piece->status == 0 && !piece->complete;
    if (!more && one->name && strcmp(one->name, r->name) != 0) /* another image's, which goes on */
        return;
    mem_free(one->name);
    *one = (struct between){.name = more ? mem_strdup(r->name) : NULL, .at_ms = more ? now_ms() : 0};
    if (more)
        snprintf(one->session, sizeof one->session, "%s", session->id);
}

json_t *uploads_of_session(const struct uploads *uploads, const struct session *session)
{
    json_t *names = json_object(), *all = json_array();
    const char *name;
    json_t *value;
    for (const struct link *l = uploads->requests.next; l != &uploads->requests; l = l->next) {
        const struct upload_request *r = container_of((struct link *)(uintptr_t)l, struct upload_request, link);
        if (r->puts && r->session.session == session)
            json_object_set_new(names, r->name, json_true());
    }
    for (unsigned i = 0; i < BETWEEN_EACH; i++) {
        const struct between *one = &uploads->between[i];
        if (one->name && strcmp(one->session, session->id) == 0 && now_ms() - one->at_ms < BETWEEN_MS)
            json_object_set_new(names, one->name, json_true());
    }
    json_object_foreach (names, name, value)
        json_array_append_new(all, json_string(name));
    json_decref(names);
    return all;
}

static void on_web_uploads_piece(struct store_piece *piece)
{
    struct upload_request *r = piece->owner, *next = r->next;
    note_between(r, piece);
    if (piece->complete) {
        char detail[STORE_SHA256 + 32];
        snprintf(detail, sizeof detail, "%" PRIu64 " bytes, %s", piece->size, piece->sha256);
        auth_audit(AUDIT_UPLOAD, r->user, r->peer, r->name, detail);
    }
    if (r->request)
        reply_piece(r->request, piece, r->name);
    web_uploads_end(r);
    if (next) {
        next->before = NULL;
        store_put(next->uploads->store, &next->piece);
    }
}

/* A PUT of the same image by the same user, whose client went or seems to have gone: its end is
 * waited for. NULL: there is none. */
static struct upload_request *find_stalled(const struct upload_request *r)
{
    list_for_each (l, &r->uploads->requests) {
        struct upload_request *other = container_of(l, struct upload_request, link);
        if (other == r || !other->puts || other->before || strcmp(other->name, r->name) != 0)
            continue;
        bool silent = !other->request || (other->wants && now_ms() - other->heard_ms >= UPLOADS_SILENT_MS);
        return silent && !other->next && strcmp(other->user, r->user) == 0 ? other : NULL;
    }
    return NULL;
}

static void put_after(struct upload_request *r, struct upload_request *before)
{
    struct http_request *request = before->request;
    r->before = before;
    before->next = r;
    if (!request)
        return;
    abandon(before);
    api_reply_error(request, 409, "%s is gone on with by another request.", r->name);
}

/* Which bytes the body has; on failure it is answered. */
static bool piece_of(struct http_request *request, struct content_range *range)
{
    const char *text = http_field(request, "Content-Range");
    int64_t length = request->body_length;
    if (length < 0 || !http_field(request, "Content-Length")) {
        api_reply_error(request, 411, "The request must say its Content-Length.");
    } else if (!text && length == 0) {
        api_reply_error(request, 400, "There is nothing to store.");
    } else if (!text) {
        *range = (struct content_range){0, (uint64_t)length - 1, (uint64_t)length, true};
        return true;
    } else if (http_field_nth(request, "Content-Range", 1) || !content_range_parse(text, range) ||
               !range->total_known) {
        api_reply_error(request, 400, "The Content-Range must be \"bytes FIRST-LAST/SIZE\".");
    } else if (range->last - range->first + 1 != (uint64_t)length) {
        api_reply_error(request, 400, "The body is not as long as its Content-Range.");
    } else {
        return true;
    }
    return false;
}

static void web_uploads_put(struct uploads *uploads, struct http_request *request, const struct api_caller *caller,
                            const char *name)
{
    struct content_range range;
    if (!piece_of(request, &range))
        return;
    struct upload_request *r = web_uploads_begin(uploads, request, caller, name);
    r->puts = true;
    r->piece = (struct store_piece){.name = r->name,
                                    .first = range.first,
                                    .length = range.last - range.first + 1,
                                    .size = range.total,
                                    .ready = on_web_uploads_ready,
                                    .done = on_web_uploads_piece,
                                    .owner = r};
    struct upload_request *before = find_stalled(r);
    if (before)
        put_after(r, before);
    else
        store_put(uploads->store, &r->piece);
}

/* --- the methods --- */

typedef void upload_method(struct uploads *uploads, struct http_request *request, const struct api_caller *caller,
                           const char *name);

static const struct method {
    const char *name;
    bool on_one; /* the request is for one image, else for the collection */
    unsigned privileges;
    upload_method *handle;
} methods[] = {
    {"GET", false, AUTH_LOGIN, get},
    {"HEAD", false, AUTH_LOGIN, get},
    {"HEAD", true, AUTH_LOGIN, get},
    {"PUT", true, AUTH_CONFIGURE_COMPONENTS, web_uploads_put},
    {"DELETE", true, AUTH_CONFIGURE_COMPONENTS, delete_one},
};

static const struct method *find_method(const char *name, bool on_one)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (methods[i].on_one == on_one && strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

void uploads_handle(struct uploads *uploads, struct http_request *request, const struct api_caller *caller,
                    const char *name)
{
    const struct method *method = find_method(request->method, name != NULL);
    const char *problem = name ? store_name_problem(name) : NULL;
    if (!method) {
        http_add_field(request, "Allow", name ? "GET, HEAD, POST, PUT, DELETE" : "GET, HEAD");
        api_reply_error(request, 405, "That is not done with this method.");
    } else if (!auth_allows(caller->role, method->privileges)) {
        api_reply_error(request, 403, "The role %s may not do that.", auth_role_name(caller->role));
    } else if (problem) {
        api_reply_error(request, 400, "%s", problem);
    } else {
        method->handle(uploads, request, caller, name);
    }
}
