/*
 * A call to the Redfish service: one request. It belongs to its handler until one of the answers of
 * answer.h, which frees it. A handler that waits for something else in between
 * (not the body) sets `waiting`; when the client goes away meanwhile, or was told to come back (tasks.c), `request`
 * is NULL from then on, and answering still frees the call.
 *
 * With the call goes the table of routes, by which $expand finds other resources: nothing here, or in answer.h,
 * knows which there are.
 */
#ifndef API_REDFISH_CALL_H
#define API_REDFISH_CALL_H

#include "api/boot_steps.h"
#include "api/redfish/query.h"
#include "api/redfish/redfish.h"
#include "api/site/access.h"
#include "base/list.h"

#define REDFISH_ROOT          "/redfish/v1"
#define REDFISH_SESSIONS      REDFISH_ROOT "/SessionService/Sessions"
#define REDFISH_ACCOUNTS      REDFISH_ROOT "/AccountService/Accounts"
#define REDFISH_ROLES         REDFISH_ROOT "/AccountService/Roles"
#define REDFISH_SYSTEM        REDFISH_ROOT "/Systems/system"
#define REDFISH_MANAGER       REDFISH_ROOT "/Managers/bmc"
#define REDFISH_MEDIA         REDFISH_MANAGER "/VirtualMedia"
#define REDFISH_OWN_MEDIA     REDFISH_SYSTEM "/VirtualMedia"
#define REDFISH_SCHEMAS       REDFISH_ROOT "/JsonSchemas"
#define REDFISH_EVENTS        REDFISH_ROOT "/EventService"
#define REDFISH_STREAMS       REDFISH_EVENTS "/Subscriptions"
#define REDFISH_TASK_SERVICE  REDFISH_ROOT "/TaskService"
#define REDFISH_TASKS         REDFISH_TASK_SERVICE "/Tasks"
#define REDFISH_MONITORS      REDFISH_TASK_SERVICE "/TaskMonitors"
#define REDFISH_REGISTRY      REDFISH_ROOT "/Registries"
#define REDFISH_OWN_REGISTRY  REDFISH_REGISTRY "/NbdProxy/NbdProxy"
#define REDFISH_EVENT_TYPE    "Event.v1_7_0"
#define REDFISH_REGISTRY_TYPE "MessageRegistry.v1_6_0" /* no resource: it has no @odata.id */
#define REDFISH_PATH_MAX      256
#define REDFISH_ID_MAX        80
#define REDFISH_PUBLIC        (1u << 31) /* in place of privileges: nobody needs to log in */

enum redfish_type {
    TYPE_NONE, /* no resource: /redfish, $metadata, actions */
    TYPE_ACCOUNT_SERVICE,
    TYPE_ACTION_INFO,
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
    TYPE_TASK,
    TYPE_TASKS,
    TYPE_TASK_SERVICE,
    TYPE_VIRTUAL_MEDIA,
    TYPE_VIRTUAL_MEDIAS,
    REDFISH_TYPES
};

struct redfish_call;
struct redfish_task;
typedef json_t *redfish_get(struct redfish_call *call); /* NULL: there is no such thing */
typedef void redfish_change(struct redfish_call *call, json_t *body);

struct redfish_route {
    const char *path; /* "*": any one segment, the call's `id` and `part` */
    enum redfish_type type;
    unsigned reading; /* privileges */
    bool host;        /* the platform is asked for the host's state before the handlers run */
    redfish_get *get;
    void (*volatiles)(struct redfish_call *call, json_t *resource); /* adds what the ETag does not tell */
    void (*document)(struct redfish_call *call);                    /* in place of `get`, for what is no resource */
    unsigned changing;
    redfish_change *post, *patch;
    void (*remove)(struct redfish_call *call);
    const char *action; /* what POST does, whose parameters are no properties; NULL: no action */
};

/* The table of routes. redfish.c owns it; everything else knows only what came with the call. */
struct redfish_routes {
    const struct redfish_route *at;
    size_t count;
};

struct redfish_call {
    struct redfish *redfish;
    struct site *site;
    struct http_request *request;
    const struct redfish_routes *routes;
    const struct redfish_route *route;             /* NULL: there is none for the path */
    char path[REDFISH_PATH_MAX];                   /* as its resource is called */
    char id[REDFISH_ID_MAX], part[REDFISH_ID_MAX]; /* the segments that stand for the first and the second "*" */
    char user[USER_NAME_MAX + 1];                  /* "" when nobody logged in */
    char peer[SITE_PEER_MAX];
    char session[SESSION_ID_MAX];                  /* "": the request came with a password */
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
    bool bonds;                /* the medium is bound anew once it is in, see eject_policy.c: */
    char bond[SESSION_ID_MAX]; /* with whose session it goes; "": with nobody's */
    struct redfish_task *task; /* who keeps the answer; NULL: the client waits for it, or nobody */
    struct link async;         /* while the client waits and may be told to come back */
    uint64_t async_at;         /* when that is; loop time */
};

/* --- call.c --- */

/* The call that is the request's owner from now on. */
struct redfish_call *redfish_call_new(struct redfish *redfish, struct site *site, struct http_request *request,
                                      const struct redfish_routes *routes);
/* Frees a call that waits for nothing and was not answered. */
void redfish_call_free(struct redfish_call *call);
/* service.c counts them. */
void redfish_call_began(struct redfish *redfish);
void redfish_call_over(struct redfish *redfish);
/* The call waits for something else than its body. `cancel` is called when the client is gone; it may be NULL. */
void redfish_wait(struct redfish_call *call, void (*cancel)(struct redfish_call *call));

/* --- routes.c --- */

/* Finds the route of the path `sent`, and sets the call's path (without a slash at its end, which changes nothing) and
 * parts. NULL: there is none. */
const struct redfish_route *redfish_route_find(const struct redfish_routes *routes, const char *sent,
                                               struct redfish_call *call);
bool redfish_route_has(const struct redfish_route *route, const char *method);

#endif
