/*
 * A request to the Redfish service, whoever sends it: it is answered exactly once, unless its client is gone, in JSON that
 * is whole, with no password in it (nor in the audit log); what is asked of the slots, the host and the accounts is what its account may. The
 * first two bytes say how things stand (stand_of()), then comes the request: head and body. Between the head's parser and
 * what the service drives nothing is faked but the accounts and their sessions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/redfish/internal.h"
#include "api/redfish/subscriptions.h"
#include "api/site/certificate_store.h"
#include "api/site/event_streams.h"
#include "auth/audit.h"
#include "base/log.h"
#include "base/save.h"
#include "base/text.h"
#include "fakes.h"
#include "http/head.h"
#include "http/websocket.h"
#include "net/tcp_listener.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SESSION_ID "0123456789abcdef"
#define SECRET_MARK '~' /* of passwords that are no words of an answer by chance */

static struct {
    struct fakes behind;
    const struct user *user; /* who asks */
    unsigned leaves;         /* before that answer to the service the client does; 0: before none */
    const uint8_t *body;
    size_t body_length;
    char *secret; /* the request's Password, if it is in the body and nowhere else */
} stand;

/* --- accounts --- */

static struct users_table table = {
    .count = 3,
    .users = {{.name = "reader", .role = AUTH_READ_ONLY, .enabled = true},
              {.name = "operator", .role = AUTH_OPERATOR, .enabled = true},
              {.name = "admin", .role = AUTH_ADMINISTRATOR, .enabled = true}},
};
static struct users_request *change;
static struct auth_check *check;

unsigned users_count(const struct users *users)
{
    (void)users;
    return table.count;
}

const struct user *users_at(const struct users *users, unsigned index)
{
    (void)users;
    return &table.users[index];
}

const struct users_table *users_get_table(const struct users *users)
{
    (void)users;
    return &table;
}

const struct user *users_find(const struct users *users, const char *name)
{
    (void)users;
    return users_table_find(&table, name);
}

const struct user *users_table_find(const struct users_table *of, const char *name)
{
    for (unsigned i = 0; i < of->count; i++)
        if (strcmp(of->users[i].name, name) == 0)
            return &of->users[i];
    return NULL;
}

bool user_name_valid(const char *name)
{
    return *name && strlen(name) <= USER_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789@._-") == strlen(name);
}

void users_change(struct users *users, struct users_request *request)
{
    (void)users;
    bool own = strcmp(request->name, stand.user->name) == 0, rights = request->role >= 0 || request->enabled >= 0;
    must(auth_allows(stand.user->role, AUTH_CONFIGURE_USERS) || (own && !rights && request->op == USERS_SET));
    must(request->role < AUTH_ROLES && request->enabled <= 1);
    must(request->op != USERS_ADD || (request->password && user_name_valid(request->name)));
    must(!change);
    change = request;
}

static bool change_answer(void)
{
    struct users_request *request = change;
    change = NULL;
    if (!request)
        return false;
    request->status = stand.behind.status;
    snprintf(request->error, sizeof request->error, "as it is");
    request->done(request);
    return true;
}

void auth_verify(struct auth *auth, struct auth_check *asked)
{
    (void)auth;
    must(!check && asked->name && asked->password && *asked->peer);
    snprintf(asked->user, sizeof asked->user, "%s", stand.user->name);
    asked->role = stand.user->role;
    asked->status = stand.behind.status;
    asked->retry_ms = 1500;
    check = asked;
}

void auth_cancel(struct auth_check *asked)
{
    must(asked == check);
    asked->status = -ECANCELED;
}

static bool check_answer(void)
{
    struct auth_check *asked = check;
    check = NULL;
    if (asked)
        asked->done(asked);
    return asked;
}

/* --- sessions: one, of whoever asks --- */

static struct session session;

static void session_begin(void)
{
    session = (struct session){.id = SESSION_ID, .role = stand.user->role, .peer = "192.0.2.1"};
    snprintf(session.user, sizeof session.user, "%s", stand.user->name);
}

struct session *sessions_find(struct sessions *sessions, enum session_kind kind, const char *token)
{
    (void)sessions;
    must(kind == SESSION_REDFISH); /* no cookie authenticates here */
    return *token == 'x' ? NULL : &session;
}

struct session *sessions_by_id(struct sessions *sessions, const char *id)
{
    (void)sessions;
    return strcmp(id, SESSION_ID) == 0 ? &session : NULL;
}

struct session *sessions_next(struct sessions *sessions, const struct session *after)
{
    (void)sessions;
    return after ? NULL : &session;
}

int sessions_open(struct sessions *sessions, enum session_kind kind, const char *user, const char *peer, struct session **opened,
                  char token[SECRET_TEXT])
{
    (void)sessions;
    (void)kind;
    must(strcmp(user, stand.user->name) == 0 && *peer);
    snprintf(token, SECRET_TEXT, "a-token");
    *opened = &session;
    return stand.behind.host ? 0 : -EBUSY;
}

void sessions_csrf(const struct sessions *sessions, const char *token, char csrf[SECRET_TEXT])
{
    (void)sessions;
    must(*token);
    snprintf(csrf, SECRET_TEXT, "a-csrf");
}

bool sessions_csrf_matches(const struct sessions *sessions, const char *token, const char *csrf)
{
    (void)sessions;
    return strcmp(token, csrf) == 0;
}

void session_end(struct session *ended, const char *by)
{
    must(ended == &session && (!by || auth_allows(stand.user->role, AUTH_CONFIGURE_MANAGER)));
}

void session_attach(struct session *to, struct session_attachment *attachment)
{
    attachment->session = to;
}

void session_detach(struct session_attachment *attachment)
{
    attachment->session = NULL;
}

void auth_audit(enum audit_event event, const char *user, const char *peer, const char *subject, const char *detail)
{
    (void)event;
    must(user && strcmp(user, stand.user->name) == 0 && peer && *peer);
    must(!stand.secret || ((!subject || !strstr(subject, stand.secret)) && (!detail || !strstr(detail, stand.secret))));
}

/* --- what is of no matter here --- */

void save_init(struct save *save, uv_loop_t *loop, char *path, const char *loss)
{
    (void)loop;
    (void)loss;
    save->path = path;
}

void save_text(struct save *save, char *text)
{
    (void)save;
    mem_free(text);
}

void save_flush(struct save *save, void (*idle)(void *arg), void *arg)
{
    (void)save;
    idle(arg);
}

void save_free(struct save *save)
{
    mem_free(save->path);
}

bool config_allows_protocol(const struct config_http *http, const char *protocol)
{
    (void)http;
    return strcmp(protocol, "http") != 0 || stand.behind.host;
}

/* Nobody is sent anything. */
struct push *push_new(uv_loop_t *loop, const struct config_http *http, void (*tick)(void *arg), void *arg)
{
    (void)loop, (void)http, (void)tick, (void)arg;
    return NULL;
}

struct push_target *push_target_new(struct push *push, const struct push_options *options)
{
    (void)push;
    must(stand.behind.may_manage);
    must(strncmp(options->url, "https://", 8) == 0 || strncmp(options->url, "http://", 7) == 0);
    for (const char *const *field = options->fields; *field; field++)
        must(!strpbrk(*field, "\r\n"));
    return NULL;
}

void push_target_set_verify(struct push_target *target, bool verify)
{
    (void)target, (void)verify;
}

void push_target_set_retry(struct push_target *target, bool forever, bool backoff, unsigned attempts, uint64_t interval_ms)
{
    (void)target, (void)forever, (void)backoff;
    must(stand.behind.may_manage && attempts > 0 && interval_ms > 0);
}

void push_target_sleep(struct push_target *target)
{
    (void)target;
}

void push_target_resume(struct push_target *target, uint64_t seen)
{
    (void)target, (void)seen;
}

void push_target_free(struct push_target *target)
{
    (void)target;
}

void push_wake(struct push *push)
{
    (void)push;
}

void push_close(struct push *push, void (*closed)(void *arg), void *arg)
{
    (void)push;
    closed(arg);
}

struct event_streams *event_streams_new(uv_loop_t *loop, const struct event_streams_options *options)
{
    (void)loop;
    (void)options;
    return NULL;
}

bool event_streams_full(const struct event_streams *streams)
{
    (void)streams;
    return true;
}

void event_streams_add(struct event_streams *streams, struct http_request *request, const struct api_caller *caller, uint64_t seen)
{
    (void)streams;
    (void)request;
    (void)caller;
    (void)seen;
    abort(); /* they are full */
}

struct event_stream *event_streams_next(struct event_streams *streams, const struct event_stream *after)
{
    (void)streams;
    (void)after;
    return NULL;
}

void event_stream_end(struct event_stream *stream)
{
    (void)stream;
    abort(); /* there is none */
}

void event_streams_wake(struct event_streams *streams)
{
    (void)streams;
}

void event_streams_user_changed(struct event_streams *streams, const char *user)
{
    (void)streams;
    (void)user;
}

void event_streams_close(struct event_streams *streams)
{
    (void)streams;
}

bool tcp_claim_move(struct tcp_claim *claim, const char *address)
{
    (void)claim;
    (void)address;
    return true;
}

bool websocket_origin_allowed(const char *origin, const char *host, bool tls, const char *const *allowed)
{
    (void)tls;
    (void)allowed;
    return strcmp(origin, host) == 0;
}

/* --- the request --- */

struct exchange {
    struct http_request request; /* first: it is freed as a whole */
    struct http_head head;
    http_on_body *on_body;
    size_t limit;
};

static struct exchange *exchange; /* NULL: its use has ended */
static unsigned answers;

static void exchange_free(void)
{
    http_head_clear(&exchange->head);
    free(exchange);
    exchange = NULL;
}

const char *http_field(const struct http_request *request, const char *name)
{
    return http_field_nth(request, name, 0);
}

const char *http_field_nth(const struct http_request *request, const char *name, unsigned nth)
{
    must(exchange && request == &exchange->request);
    return http_head_field(&exchange->head, name, nth);
}

bool http_field_has(const struct http_request *request, const char *name, const char *token)
{
    const char *value = http_field(request, name);
    return value && strcmp(value, token) == 0;
}

void http_set_known(struct http_request *request, bool known)
{
    (void)known;
    must(request == &exchange->request);
}

void http_add_field(struct http_request *request, const char *name, const char *value)
{
    must(exchange && request == &exchange->request && http_is_token(name) && http_is_value(value));
    must(!stand.secret || !strstr(value, stand.secret));
}

void http_receive_all(struct http_request *request, size_t limit, http_on_body *on_body)
{
    must(exchange && request == &exchange->request && !exchange->on_body);
    exchange->on_body = on_body;
    exchange->limit = limit;
}

/* An error says what is wrong, in Redfish's form. */
static void check_error(const json_t *json)
{
    const json_t *error = json_object_get(json, "error"), *all = json_object_get(error, "@Message.ExtendedInfo");
    must(json_is_string(json_object_get(error, "code")) && json_is_string(json_object_get(error, "message")));
    must(json_array_size(all) > 0);
    for (size_t i = 0; i < json_array_size(all); i++)
        must(json_is_string(json_object_get(json_array_get(all, i), "MessageId")) &&
             json_is_string(json_object_get(json_array_get(all, i), "Message")));
}

void http_reply(struct http_request *request, unsigned status, const char *type, const void *body, size_t length)
{
    json_error_t problem;
    must(exchange && request == &exchange->request && status >= 200 && status < 600);
    if (type && strstr(type, "json")) {
        json_t *json = json_loadb(body, length, JSON_REJECT_DUPLICATES, &problem);
        must(json);
        if (status >= 400)
            check_error(json);
        json_decref(json);
    }
    must(status < 400 || length > 0);
    must(!stand.secret || length == 0 || !memmem(body, length, stand.secret, strlen(stand.secret)));
    answers++;
    exchange_free();
}

void http_begin(struct http_request *request, unsigned status, int64_t length)
{
    (void)request;
    (void)status;
    (void)length;
    abort(); /* nothing streams but events */
}

void http_write(struct http_request *request, struct slices *data)
{
    (void)request;
    (void)data;
    abort();
}

void http_end(struct http_request *request)
{
    (void)request;
    abort();
}

static void client_leaves(void)
{
    struct http_request *request = &exchange->request;
    if (request->on_gone)
        request->on_gone(request);
    must(exchange);
    exchange_free();
}

/* False: the HTTP server would refuse it before anybody sees it. */
static bool exchange_begin(const uint8_t *data, size_t size)
{
    unsigned status = 0;
    llhttp_t parser;
    exchange = calloc(1, sizeof *exchange);
    must(exchange);
    struct http_head *head = &exchange->head;
    size_t used = http_head_input(head, &parser, data, size, &status);
    if (status || !head->complete || http_head_judge(head) || strcmp(head->path, "*") == 0) {
        exchange_free();
        return false;
    }
    stand.body = data + used;
    stand.body_length = size - used;
    exchange->request = (struct http_request){.method = head->method,
                                              .path = head->path,
                                              .query = head->query,
                                              .host = head->host,
                                              .peer = "192.0.2.1:1234",
                                              .tls = true,
                                              .body_length = (int64_t)stand.body_length};
    return true;
}

/* As the server gives it: at once, with a NUL behind. */
static bool body_answer(void)
{
    http_on_body *on_body = exchange ? exchange->on_body : NULL;
    if (!on_body)
        return false;
    exchange->on_body = NULL;
    if (stand.body_length > exchange->limit) {
        client_leaves(); /* 413 is said by the server */
        return true;
    }
    uint8_t *text = malloc(stand.body_length + 1);
    must(text);
    memcpy(text, stand.body, stand.body_length);
    text[stand.body_length] = '\0';
    on_body(&exchange->request, text, stand.body_length);
    free(text);
    return true;
}

/* --- all of it --- */

/* First byte: bits 0 and 1: who asks; 2: there is a host, and room for a session; 3 and 4: before which answer to the
 * service the client leaves, 0 for none. Second byte: bits 0 and 1: what is in the first slot; 2 to 5: how what the service
 * asks for ends; 7: the slots are removed then. */
static void stand_of(const uint8_t *data)
{
    static const int statuses[] = {0,      0,       -EBUSY,  -ENOENT,  -EACCES, -EINVAL,    -EAGAIN,          -EIO,
                                   -EPERM, -ENOSPC, -EEXIST, -ENOTSUP, -EROFS,  -ETIMEDOUT, -EPROTONOSUPPORT, -ENODEV};
    stand.user = &table.users[(data[0] & 3) % 3];
    stand.leaves = data[0] >> 3 & 3;
    stand.behind = (struct fakes){
        .medium = (enum fake_medium)(data[1] & 3),
        .status = statuses[data[1] >> 2 & 15],
        .host = data[0] & 4,
        .removed = data[1] & 128,
        .may_insert = auth_allows(stand.user->role, AUTH_CONFIGURE_COMPONENTS),
        .may_manage = auth_allows(stand.user->role, AUTH_CONFIGURE_MANAGER),
    };
    fakes_begin(&stand.behind);
    session_begin();
}

static unsigned times_in(const uint8_t *data, size_t size, const char *text)
{
    const uint8_t *end = data + size, *p = data;
    unsigned times = 0;
    for (; (p = memmem(p, (size_t)(end - p), text, strlen(text))) != NULL; p++)
        times++;
    return times;
}

static void secret_find(const uint8_t *data, size_t size)
{
    json_t *body = api_parse_json(stand.body, stand.body_length);
    const char *text = json_string_value(json_object_get(body, "Password"));
    bool only_there = text && strchr(text, SECRET_MARK) && times_in(data, size, text) == 1;
    stand.secret = only_there ? mem_strdup(text) : NULL;
    json_decref(body);
}

static void serve(struct redfish *redfish)
{
    bool gone = false;
    answers = 0;
    redfish_handle(redfish, &exchange->request);
    for (unsigned step = 1;; step++) {
        if (exchange && step == stand.leaves) {
            client_leaves();
            gone = true;
        }
        if (!check_answer() && !change_answer() && !body_answer() && !fakes_answer())
            break;
    }
    must(!exchange && (answers == 1 || gone || stand.body_length > SITE_LOGIN_MAX));
}

static void on_closed(void *arg)
{
    (void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct site site = {.config.file_directory = size % 2 ? "/srv" : "", .slots = fakes_slots(), .host = fakes_host()};
    struct redfish redfish = {.site = &site};
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR - 1);
    if (size < 2)
        return 0;
    stand_of(data);
    if (!exchange_begin(data + 2, size - 2))
        return 0;
    site.certificates = certificate_store_new(NULL, mem_strdup("/nowhere/certificates"), NULL);
    site.own_certificates = certificate_store_new(NULL, mem_strdup("/nowhere/own"), &site.config.state_secrets);
    redfish.events = redfish_events_new(&site);
    redfish.subscriptions = redfish_subscriptions_new(&site, redfish.events, mem_strdup("/nowhere/subscriptions"));
    redfish.tasks = redfish_tasks_new(&redfish);
    secret_find(data, size);
    serve(&redfish);
    redfish_subscriptions_stop(redfish.subscriptions);
    redfish_subscriptions_close(redfish.subscriptions, on_closed, NULL);
    redfish_events_close(redfish.events);
    redfish_tasks_free(redfish.tasks);
    must(redfish.calls == 0);
    certificate_store_close(site.certificates, on_closed, NULL);
    certificate_store_close(site.own_certificates, on_closed, NULL);
    mem_free(stand.secret);
    return 0;
}
