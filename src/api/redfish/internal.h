/*
 * The Redfish service's inside (DMTF DSP0266). redfish.c has the table of routes and
 * what is done before a handler; answer.c the answers; messages.c the
 * messages in them; body.c what a request's body may hold; types.c the
 * schemas in use. The handlers: documents.c (root, $metadata, ...),
 * sessions.c, accounts.c, managers.c, systems.c (the host),
 * virtual_media.c and insert.c (VirtualMedia). Private to api/.
 *
 * A call is one request. It belongs to its handler until one of the answers of
 * answer.c, which frees it. Whoever waits for something else in between
 * (not the body) sets `waiting`; when the client goes away meanwhile, `request`
 * is NULL from then on, and answering still frees the call.
 */
#ifndef API_REDFISH_INTERNAL_H
#define API_REDFISH_INTERNAL_H

#include <openssl/types.h>
#include <time.h>

#include "api/boot_steps.h"
#include "api/redfish/etag.h"
#include "api/redfish/query.h"
#include "api/web/internal.h"

#define REDFISH_ROOT          "/redfish/v1"
#define REDFISH_SESSIONS      REDFISH_ROOT "/SessionService/Sessions"
#define REDFISH_ACCOUNTS      REDFISH_ROOT "/AccountService/Accounts"
#define REDFISH_ROLES         REDFISH_ROOT "/AccountService/Roles"
#define REDFISH_SYSTEM        REDFISH_ROOT "/Systems/system"
#define REDFISH_MANAGER       REDFISH_ROOT "/Managers/bmc"
#define REDFISH_MEDIA         REDFISH_MANAGER "/VirtualMedia"
#define REDFISH_SCHEMAS       REDFISH_ROOT "/JsonSchemas"
#define REDFISH_EVENTS        REDFISH_ROOT "/EventService"
#define REDFISH_STREAMS       REDFISH_EVENTS "/Subscriptions"
#define REDFISH_REGISTRY      REDFISH_ROOT "/Registries"
#define REDFISH_OWN_REGISTRY  REDFISH_REGISTRY "/NbdProxy/NbdProxy"
#define REDFISH_EVENT_TYPE    "Event.v1_7_0"
#define REDFISH_REGISTRY_TYPE "MessageRegistry.v1_6_0" /* no resource: it has no @odata.id */
#define REDFISH_PATH_MAX      256
#define REDFISH_ID_MAX        80
#define REDFISH_PUBLIC        (1u << 31) /* in place of privileges: nobody needs to log in */

/* --- types.c --- */

enum redfish_type {
    TYPE_NONE, /* no resource: /redfish, $metadata, actions */
    TYPE_ACCOUNT_SERVICE,
    TYPE_CERTIFICATE,
    TYPE_CERTIFICATES,
    TYPE_COMPUTER_SYSTEM,
    TYPE_COMPUTER_SYSTEMS,
    TYPE_EVENT_DESTINATION,
    TYPE_EVENT_DESTINATIONS,
    TYPE_EVENT_SERVICE,
    TYPE_JSON_SCHEMA_FILE,
    TYPE_JSON_SCHEMA_FILES,
    TYPE_MANAGER,
    TYPE_MANAGERS,
    TYPE_MANAGER_ACCOUNT,
    TYPE_MANAGER_ACCOUNTS,
    TYPE_REGISTRY_FILE,
    TYPE_REGISTRY_FILES,
    TYPE_ROLE,
    TYPE_ROLES,
    TYPE_SERVICE_ROOT,
    TYPE_SESSION,
    TYPE_SESSIONS,
    TYPE_SESSION_SERVICE,
    TYPE_VIRTUAL_MEDIA,
    TYPE_VIRTUAL_MEDIAS,
    REDFISH_TYPES
};

const char *redfish_type_name(enum redfish_type type);
/* "VirtualMedia.v1_6_0"; of a collection, its name. */
const char *redfish_type_namespace(enum redfish_type type);

/* --- redfish.c --- */

struct redfish_call;
typedef json_t *redfish_get(struct redfish_call *call); /* NULL: there is no such thing */
typedef void redfish_change(struct redfish_call *call, json_t *body);

struct redfish_route {
    const char *path; /* "*": any one segment, the call's `id` and `part` */
    enum redfish_type type;
    unsigned reading; /* privileges */
    bool host;        /* the platform is asked for the host's state before the handlers run */
    redfish_get *get;
    void (*volatiles)(struct redfish_call *call, json_t *resource); /* adds what the ETag does not tell */
    void (*document)(struct redfish_call *call);                    /* in place of get: what is no resource */
    unsigned changing;
    redfish_change *post, *patch;
    void (*remove)(struct redfish_call *call);
    const char *action; /* POST does this one: its parameters are no properties */
};

struct redfish_call {
    struct web *web;
    struct http_request *request;
    const struct redfish_route *route;             /* NULL: there is none */
    char path[REDFISH_PATH_MAX];                   /* as its resource is called */
    char id[REDFISH_ID_MAX], part[REDFISH_ID_MAX]; /* what is in the place of the first and the second "*" */
    char user[USER_NAME_MAX + 1];                  /* "" when nobody logged in */
    char peer[WEB_PEER_MAX];
    char session[SESSION_ID_MAX]; /* "": it sent its password */
    enum auth_role role;
    struct redfish_query query;
    json_t *notes; /* messages that go along with a success; NULL: none */

    bool waiting;
    void (*cancel)(struct redfish_call *call); /* while waiting: the client is gone; may be NULL */
    struct auth_check check;
    struct users_request change;
    struct host_request host;
    void (*host_asked)(struct redfish_call *call);
    struct boot_steps steps; /* behind an insert */
};

/* One that waits for nothing and was not answered. */
void redfish_call_free(struct redfish_call *call);
void redfish_wait(struct redfish_call *call, void (*cancel)(struct redfish_call *call));

/* EjectPolicy and EjectTimeout. */
enum redfish_eject { REDFISH_PERSISTENT, REDFISH_SESSION, REDFISH_TIMED };
struct redfish_stay {
    enum redfish_eject policy;
    uint64_t ms;     /* 0: none was given */
    bool configured; /* as the configuration has it */
};

/* What is remembered beside a slot, by its name. */
struct redfish_setting {
    char slot[CONFIG_SLOT_NAME_MAX]; /* "": free */
    struct web *web;
    int verify;      /* VerifyCertificate of the next insert; -1: as the slot says */
    bool stay_given; /* of the next insert: */
    struct redfish_stay stay;
    struct session_attachment session; /* with which the medium goes */
};

struct certificate_store;
struct redfish_events;

struct redfish {
    char uuid[37], system_uuid[37]; /* "": not known */
    time_t started;
    struct redfish_setting settings[CONFIG_SLOTS_MAX];
    struct certificate_store *certificates;
    struct redfish_events *events;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* What a GET of that path would give the one who calls; NULL: nothing. */
json_t *redfish_lookup(const struct redfish_call *call, const char *path);

/* --- expand.c --- */

/* Puts resources in the place of the links to them, as the call's $expand wants it. */
void redfish_expand(const struct redfish_call *call, json_t *resource);

/* --- answer.c --- */

/* The call is freed; the caller answers the request, or takes it over, before it returns (http/server.h).
 * NULL: the client is gone. */
struct http_request *redfish_release(struct redfish_call *call);
/* Each ends the call. Those with JSON take over the reference. */
void redfish_reply_resource(struct redfish_call *call, json_t *resource); /* 200, or as conditions demand */
void redfish_reply_json(struct redfish_call *call, unsigned status, json_t *body);
void redfish_reply_created(struct redfish_call *call, const char *location, json_t *body);
void redfish_reply_text(struct redfish_call *call, const char *type, const char *text);
void redfish_reply_nothing(struct redfish_call *call); /* 204 */
/* A PATCH is done: 200 with the resource and the notes. */
void redfish_reply_changed(struct redfish_call *call, json_t *resource);
/* `messages`: one, or an array of some. */
void redfish_fail(struct redfish_call *call, unsigned status, json_t *messages);
void redfish_fail_later(struct redfish_call *call, unsigned status, uint64_t retry_ms, json_t *messages);
void redfish_not_found(struct redfish_call *call);

/* Adds what changes with each GET: the tag of the rest, and what the tag does not tell. */
void redfish_tag(struct redfish_call *call, json_t *resource, char etag[REDFISH_ETAG_SIZE]);
/* A resource's beginning: @odata.id and .type, Id, Name. */
json_t *redfish_resource(enum redfish_type type, const char *path, const char *id, const char *name);
json_t *redfish_collection(const struct redfish_call *call, const char *name);
void redfish_add_member(json_t *collection, const char *folder, const char *id);
json_t *redfish_link(const char *path);
json_t *redfish_time(time_t time);

/* --- messages.c --- */

#define REDFISH_OWN_MESSAGES "NbdProxy.1.0."

struct redfish_entry {
    const char *registry;    /* as it begins a MessageId */
    const char *description; /* of our own ones: when it is used; else NULL */
    const char *key, *severity;
    const char *text; /* %1 to %3: the arguments */
    const char *resolution;
};
const struct redfish_entry *redfish_entries(size_t *count); /* all there are */

/* One of the registries Base, ResourceEvent and NbdProxy, its arguments as strings and a NULL behind them. `property`:
 * what it is about, as "Image" or "Boot/Target"; NULL. */
__attribute__((sentinel)) json_t *redfish_message(const char *key, const char *property, ...);
/* Of a property, or of an action's parameter. */
json_t *redfish_not_in_list(const struct redfish_call *call, const char *name, const char *value);
json_t *redfish_conflict(const struct redfish_call *call, const char *name, const char *value, const char *other);
json_t *redfish_missing(const struct redfish_call *call, const char *name);
/* In place of the registry's words. */
json_t *redfish_resolve(json_t *message, const char *resolution);
/* The message, which is taken over, as an entry of Status.Conditions. */
json_t *redfish_condition(json_t *message);
/* The value as it is written in JSON, cut to be shown; a secret's is not. */
void redfish_show(const char *property, const json_t *value, char text[64]);

/* --- body.c --- */

enum redfish_kind {
    REDFISH_TEXT,
    REDFISH_FLAG,
    REDFISH_TEXT_OR_NULL,
    REDFISH_FLAG_OR_NULL,
    REDFISH_OBJECT, /* see redfish_flatten() */
    REDFISH_READ_ONLY,
    REDFISH_IGNORED
};

struct redfish_property {
    const char *name; /* NULL: the end */
    enum redfish_kind kind;
};

/* Is the body of that kind? What can't be taken is answered (false), or noted when a PATCH has
 * something else to do. */
bool redfish_check(struct redfish_call *call, json_t *body, const struct redfish_property *properties);
/* A new object in which the members of the one of that name stand as "NAME/MEMBER" in its place. */
json_t *redfish_flatten(json_t *body, const char *object);
const char *redfish_text(const json_t *body, const char *name); /* NULL: none, or "" */
int redfish_flag(const json_t *body, const char *name);         /* -1: none */

/* --- handlers --- */

redfish_get redfish_root, redfish_schemas, redfish_schema;
void redfish_versions(struct redfish_call *call);
void redfish_odata(struct redfish_call *call);
void redfish_metadata(struct redfish_call *call);

redfish_get redfish_session_service, redfish_sessions, redfish_session;
redfish_change redfish_sessions_post;
void redfish_session_delete(struct redfish_call *call);
/* Answers a failed login. */
void redfish_login_failed(struct redfish_call *call, int status, uint64_t retry_ms, const char *words);

redfish_get redfish_account_service, redfish_accounts, redfish_account, redfish_roles, redfish_role;
redfish_change redfish_accounts_post, redfish_account_patch;
void redfish_account_delete(struct redfish_call *call);

redfish_get redfish_registries, redfish_registry_file;
void redfish_own_registry(struct redfish_call *call);

redfish_get redfish_managers, redfish_manager;
json_t *redfish_uuid(const char *uuid); /* or null */

redfish_get redfish_systems, redfish_system;
redfish_change redfish_system_patch, redfish_system_reset;
/* Asks for the host's state, then calls `ready`; of a client that goes meanwhile the call is freed. */
void redfish_ask_host(struct redfish_call *call, void (*ready)(struct redfish_call *call));
/* Answers what has failed: with `message`, a message of one argument, or the one that fits the status. */
void redfish_host_failed(struct redfish_call *call, int status, const char *message, const char *words);

redfish_get redfish_media_list, redfish_media;
void redfish_media_volatiles(struct redfish_call *call, json_t *resource);
redfish_change redfish_media_patch, redfish_media_insert, redfish_media_eject;

/* certificates.c */
redfish_get redfish_certificates, redfish_certificate;
redfish_change redfish_certificates_post;
void redfish_certificate_delete(struct redfish_call *call);
/* Adds what is in it: whose and by whom, from when to when, its number and fingerprint. */
void redfish_certificate_facts(json_t *json, X509 *x509);

/* event_service.c */
redfish_get redfish_event_service, redfish_event_streams, redfish_event_stream;
void redfish_event_stream_open(struct redfish_call *call);
void redfish_event_stream_delete(struct redfish_call *call);
struct redfish_events *redfish_events_new(struct web *web);
void redfish_events_close(struct redfish_events *events); /* frees itself */

/* eject_policy.c */
struct redfish_setting *redfish_setting(struct web *web, const char *slot); /* of a slot that there is */
json_t *redfish_eject_policies(void);
void redfish_stay_show(const struct redfish_call *call, const struct slot_status *status, json_t *media);
/* What the body asks for, over what holds; else what is wrong with it. */
json_t *redfish_stay_read(const struct redfish_call *call, const json_t *body, const struct slot_status *status,
                          struct redfish_stay *stay);
/* Is it so already? */
bool redfish_stay_holds(const struct redfish_call *call, const struct slot_status *status,
                        const struct redfish_stay *stay);
/* Why a medium can't be in so; NULL: it can. */
json_t *redfish_stay_problem(const struct redfish_call *call, const struct slot_status *status,
                             const struct redfish_stay *stay);
/* For the insert that begins. */
void redfish_stay_insert(struct redfish_call *call, const struct slot_status *status, const struct redfish_stay *stay,
                         struct slot_insert_options *options);
/* For the medium that is in, and for later inserts. */
void redfish_stay_set(struct redfish_call *call, struct slot *slot, const struct slot_status *status,
                      const struct redfish_stay *stay);
void redfish_stay_over(struct web *web, const char *slot); /* the medium is out */
void redfish_settings_stop(struct redfish *redfish);       /* nothing is ejected with its session any more */

/* virtual_media.c */
void redfish_media_path(unsigned index, char path[REDFISH_PATH_MAX]); /* of that slot */
struct slot *redfish_media_slot(const struct redfish_call *call);     /* NULL: there is none of that Id */
/* Of the medium, or of the next one. */
bool redfish_media_verify(const struct redfish_call *call, const struct slot_status *status);
/* By VirtualMedia's TransferProtocolType: "HTTPS", "CIFS", ... */
bool redfish_media_speaks(const struct slot *slot, const char *protocol);
bool redfish_media_is_of(const char *image, const char *protocol);

#endif
