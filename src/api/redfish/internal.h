/*
 * The Redfish service's inside (DMTF DSP0266), above what answer.h has for every resource: what the service
 * remembers (service.c, settings.c), and the resources, which know nothing of the table of routes: documents.c
 * (root, $metadata, ...), registries.c, event_service.c, event_destinations.c, tasks.c, sessions.c, accounts.c, managers.c, systems.c (the host),
 * virtual_media.c, media_body.c, insert.c, eject_policy.c and certificates.c (VirtualMedia). redfish.c has the table, and what is
 * done before a handler. Private to api/.
 */
#ifndef API_REDFISH_INTERNAL_H
#define API_REDFISH_INTERNAL_H

#include <openssl/types.h>

#include "api/redfish/answer.h"
#include "base/defer.h"

/* EjectPolicy and EjectTimeout. */
enum redfish_eject { REDFISH_PERSISTENT, REDFISH_SESSION, REDFISH_TIMED, REDFISH_POWER_OFF, REDFISH_AFTER_USE };
struct redfish_stay {
    enum redfish_eject policy;
    uint64_t ms;     /* 0: no time was given */
    bool configured; /* the policy is the configuration's */
    bool asked;      /* the body has the policy */
};

/* What is remembered beside a slot, by its name. */
struct redfish_setting {
    char slot[CONFIG_SLOT_NAME_MAX]; /* "": free */
    struct slots *slots;
    int verify;      /* VerifyCertificate of the next insert; -1: as the slot says */
    bool stay_given; /* of the next insert: */
    struct redfish_stay stay;
    struct session_attachment session; /* with whose session the medium goes */
};

struct redfish_events;
struct redfish_subscription;
struct redfish_subscriptions;
struct redfish_tasks;
struct push;

struct redfish {
    struct site *site;
    bool stopped;
    char uuid[37], system_uuid[37]; /* "": not known */
    time_t started;
    struct redfish_setting settings[CONFIG_SLOTS_MAX];
    struct redfish_events *events;
    struct redfish_subscriptions *subscriptions;
    struct redfish_tasks *tasks;
    unsigned calls; /* that have not ended */
    struct defer settled;
    void (*on_settled)(void *arg); /* NULL: nobody waits for their end */
    void *settled_arg;
    struct slots_watch watch;
};

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

redfish_get redfish_systems, redfish_system;
redfish_get redfish_reset_info;
redfish_change redfish_system_patch, redfish_system_reset;

redfish_get redfish_media_list, redfish_media, redfish_insert_info;
void redfish_media_volatiles(struct redfish_call *call, json_t *resource);
redfish_change redfish_media_patch, redfish_media_insert, redfish_media_eject;

/* host.c */
/* Asks for the host's state, then calls `ready`. If the client goes meanwhile the call is freed instead. */
void redfish_ask_host(struct redfish_call *call, void (*ready)(struct redfish_call *call));
/* Answers that the platform has failed: with `message`, a message of one argument, or the one that fits the status. */
void redfish_host_failed(struct redfish_call *call, int status, const char *message, const char *words);

/* certificates.c */
redfish_get redfish_certificates, redfish_certificate;
redfish_change redfish_certificates_post;
void redfish_certificate_delete(struct redfish_call *call);
/* Adds what the certificate says: its subject and issuer, its dates, number and fingerprint. */
void redfish_certificate_facts(json_t *json, X509 *x509);

/* event_service.c */
redfish_get redfish_event_service, redfish_event_stream;
redfish_change redfish_event_service_patch, redfish_event_test;
void redfish_event_streams_add(const struct redfish_call *call, json_t *collection); /* the open ones, as members */
/* The next event for a subscription that has seen up to `seen`, which becomes what it has seen then; for mem_free(). NULL:
 * there is none that it wants. */
char *redfish_events_next_for(struct redfish_events *events, const struct redfish_subscription *subscription,
                              uint64_t *seen);
uint64_t redfish_events_last(const struct redfish_events *events);
void redfish_events_set_push(struct redfish_events *events, struct push *push); /* NULL: nobody is sent events */
void redfish_events_look(struct redfish_events *events); /* for what no slot tells by itself */
void redfish_event_stream_open(struct redfish_call *call);
void redfish_event_stream_delete(struct redfish_call *call);
struct redfish_events *redfish_events_new(struct site *site);
/* Must be called at each change of a slot. */
void redfish_events_tell(struct redfish_events *events, struct slot *slot, enum slot_change change);
/* Takes over the message, which is about the task of that path. */
void redfish_events_tell_task(struct redfish_events *events, json_t *message, const char *path);
void redfish_events_user_changed(struct redfish_events *events, const char *user);
void redfish_events_close(struct redfish_events *events); /* frees itself */

/* event_destinations.c */
redfish_get redfish_destinations, redfish_destination;
redfish_change redfish_destinations_post, redfish_destination_patch, redfish_destination_resume, redfish_destination_suspend;
void redfish_destination_delete(struct redfish_call *call);

/* tasks.c */
redfish_get redfish_task_service, redfish_tasks, redfish_task;
void redfish_task_monitor(struct redfish_call *call);
void redfish_task_delete(struct redfish_call *call);
void redfish_task_monitor_delete(struct redfish_call *call);
struct redfish_tasks *redfish_tasks_new(struct redfish *redfish);
void redfish_tasks_stop(struct redfish_tasks *tasks); /* no call becomes a task any more */
void redfish_tasks_free(struct redfish_tasks *tasks);

/* eject_policy.c */
/* Those that the slot can have. */
json_t *redfish_eject_policies(const struct redfish_call *call, const struct slot_status *status);
void redfish_stay_show(const struct redfish_call *call, const struct slot_status *status, json_t *media);
/* Reads the policy that the body asks for into `stay`; what the body leaves out is as it holds now. NULL, or what is
 * wrong with the body. */
json_t *redfish_stay_read(const struct redfish_call *call, const json_t *body, const struct slot_status *status,
                          struct redfish_stay *stay);
/* Does the policy hold already? */
bool redfish_stay_holds(const struct redfish_call *call, const struct slot_status *status,
                        const struct redfish_stay *stay);
/* Why the policy can't hold for the medium that is in, or for the one of an insert; NULL: it can. */
json_t *redfish_stay_problem(const struct redfish_call *call, const struct slot_status *status,
                             const struct redfish_stay *stay);
json_t *redfish_stay_insert_problem(const struct redfish_call *call, const struct slot_status *status,
                                    const struct redfish_stay *stay);
/* Makes the policy hold for the insert that begins; once that is done, redfish_stay_inserted() must follow. */
void redfish_stay_insert(struct redfish_call *call, const struct slot_status *status, const struct redfish_stay *stay,
                         struct slot_insert_options *options);
void redfish_stay_inserted(struct redfish_call *call, struct slot *slot);
/* Makes the policy hold for the medium that is in, and for later inserts. */
void redfish_stay_set(struct redfish_call *call, struct slot *slot, const struct slot_status *status,
                      const struct redfish_stay *stay);

/* settings.c */
struct redfish_setting *redfish_setting(struct redfish *redfish, const char *slot); /* the slot must exist */
void redfish_setting_over(struct redfish *redfish, const char *slot);       /* the medium is out */
void redfish_settings_stop(struct redfish *redfish); /* no medium is ejected with its session any more */

/* media_body.c: what the bodies of InsertMedia and of a PATCH may hold */
#define REDFISH_BOOT_ONCE     REDFISH_OEM "/BootOnce"
#define REDFISH_RESET         REDFISH_OEM "/Reset"
#define REDFISH_PROFILE       REDFISH_OEM "/BootProfile"
#define REDFISH_HPE_BOOT_ONCE "Oem/Hpe/BootOnNextServerReset"
extern const struct redfish_property redfish_insert_parameters[], redfish_media_properties[];
/* The members of Oem's objects under flat names, as in these tables; for json_decref(). */
json_t *redfish_media_flatten(json_t *body);

/* media_slot.c */
#define REDFISH_SLOT_ID 16
void redfish_media_id(unsigned index, char id[REDFISH_SLOT_ID]);      /* of that slot */
void redfish_media_path(unsigned index, char path[REDFISH_PATH_MAX]); /* of that slot */
struct slot *redfish_media_slot(const struct redfish_call *call);     /* NULL: there is none of that Id */

/* virtual_media.c */
/* Is the certificate of the image's server checked: for the medium that is in, or for the next one? */
bool redfish_media_verify(const struct redfish_call *call, const struct slot_status *status);
/* `protocol` is a value of VirtualMedia's TransferProtocolType, "HTTPS", "CIFS", ...: can the slot's images come by
 * it? Is the image's URL of that protocol? */
bool redfish_media_speaks(const struct slot *slot, const char *protocol);
bool redfish_media_is_of(const char *image, const char *protocol);
/* Those that it can; a new list. */
json_t *redfish_media_protocols(const struct slot *slot);

/* boot_changes.c: what is changed in the boot configurations of an image that goes in, or is on a config medium that does,
 * and its names in a flat body */
#define REDFISH_KERNEL_ARGUMENTS REDFISH_OEM "/KernelArguments"
#define REDFISH_MENU_TIMEOUT     REDFISH_OEM "/MenuTimeout"
struct redfish_boot_changes {
    const char *arguments; /* NULL: not given */
    char menu_timeout[16]; /* seconds; "": not given */
    struct seed_wish seed;
    char config_url[SLOT_CONFIG_URL_MAX]; /* the Image, when the config medium's files are given; "" */
};
/* What is wrong with them; NULL: nothing. The texts are the body's, where objects become texts. */
json_t *redfish_boot_changes_read(const struct redfish_call *call, json_t *body, struct redfish_boot_changes *changes);
bool redfish_boot_changes_any(const struct redfish_boot_changes *changes);
/* Whether the medium that is in has them; what is not given may be anything. */
bool redfish_boot_changes_hold(const struct redfish_boot_changes *changes, const struct slot_status *s);
/* `keep`: what is not given stays as the slot has it. The options point into all of these. */
void redfish_boot_changes_set(const struct redfish_boot_changes *changes, const struct slot_status *s, bool keep,
                              struct slot_insert_options *options);

#endif
