/*
 * The inside of the D-Bus service for bmcweb: the set and its life (bmcweb.c), an object
 * and its properties (object.c), Mount and Unmount (mount.c), browsers that find no room (turn_away.c). Private to api/bmcweb/.
 */
#ifndef API_BMCWEB_INTERNAL_H
#define API_BMCWEB_INTERNAL_H

#include <systemd/sd-bus.h>

#include "api/bmcweb/bmcweb.h"
#include "api/bmcweb/credentials.h"
#include "base/closing.h"
#include "base/list.h"

#define BMCWEB_ROOT        "/xyz/openbmc_project/VirtualMedia"
#define BMCWEB_PREFIX      "xyz.openbmc_project.VirtualMedia."
#define BMCWEB_TICK_MS     500 /* how often changes by other doors are looked for */
#define BMCWEB_REQUEST_MAX (128u << 10)
#define BMCWEB_HOLD_MS     18000 /* a Legacy.Mount is answered by then, as bmcweb waits 25 s */
#define BMCWEB_TURNED_MAX  8    /* browsers that are turned away at a time; more Mounts are refused */
#define BMCWEB_TURNING_MS  10000 /* for one to go */
#define BMCWEB_TURNED_MS   5000 /* within that of its end comes the Unmount that is for nothing */

enum bmcweb_kind { BMCWEB_PROXY, BMCWEB_LEGACY };
#define BMCWEB_KINDS 2

/* What does not change as long as the object exists. */
struct bmcweb_facts {
    enum bmcweb_kind kind;
    unsigned number; /* N of Slot_N */
    char slot[CONFIG_SLOT_NAME_MAX];
    char device[64];   /* "nbd0"; "": the slot has none */
    char endpoint[24]; /* "/nbd/0" */
    char socket[128];
    int timeout_s;
};

/* What does change; sd-bus reads the properties from here. */
struct bmcweb_view {
    int active, write_protected; /* sd-bus's booleans are ints */
    int exit_code;               /* -1: no medium has gone yet; 0: the last went well; 1: it failed */
    char *image;                 /* valid UTF-8 */
};

struct bmcweb_op;

struct bmcweb_object {
    struct bmcweb *bmcweb;
    struct bmcweb_facts facts;
    char path[80];
    /* For sd-bus, which reads strings through pointers. */
    const char *device, *endpoint, *socket;
    int idle_left_s; /* always 0: a medium is not ejected for being idle */
    struct bmcweb_view view;
    bool was_in;                       /* a medium was in when the slot was last looked at */
    struct bmcweb_op *mount, *unmount; /* under way */
    sd_bus_slot *registered[4]; /* while the bus is up: methods that no table can hold, and tables */
};

struct bmcweb {
    uv_loop_t *loop;
    struct bus *bus;
    struct slots *slots;
    struct bus_user user;
    bool local_files; /* may be inserted: the configuration says from where */
    struct bmcweb_object *objects[BMCWEB_KINDS * CONFIG_SLOTS_MAX];
    unsigned count;
    struct link ops;    /* struct bmcweb_op */
    struct link turned; /* struct turned_away */
    unsigned turned_count;
    bool stopping;
    sd_bus_slot *manager, *root;
    uv_timer_t tick;
    bool handles_closed; /* at the end */
    struct closing handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* --- bmcweb.c --- */
void bmcweb_op_gone(struct bmcweb *bmcweb); /* the last one may have been */

/* --- object.c --- */
struct bmcweb_object *bmcweb_object_new(struct bmcweb *bmcweb, const struct bmcweb_facts *facts);
void bmcweb_object_free(struct bmcweb_object *object); /* not registered */
void bmcweb_object_register(struct bmcweb_object *object, sd_bus *connection);
void bmcweb_object_unregister(struct bmcweb_object *object);
/* Looks at the slot; if the bus is up, tells what has changed. */
void bmcweb_object_refresh(struct bmcweb_object *object);
/* What state a medium of the object's own kind is in. */
enum bmcweb_state {
    BMCWEB_IDLE, /* there is none, and the slot is empty */
    BMCWEB_ACTIVATING,
    BMCWEB_ACTIVE,
    BMCWEB_WAITING, /* it is in, and its browser may come back */
    BMCWEB_DEACTIVATING,
    BMCWEB_OTHER, /* the slot has a medium of the other kind */
};
enum bmcweb_state bmcweb_object_state(const struct bmcweb_object *object);
extern const char *const bmcweb_interfaces[BMCWEB_KINDS]; /* the one with Mount */

/* --- mount.c: handlers of sd-bus --- */
int bmcweb_mount_legacy(sd_bus_message *call, void *object, sd_bus_error *error);
int bmcweb_mount_proxy(sd_bus_message *call, void *object, sd_bus_error *error);
int bmcweb_unmount(sd_bus_message *call, void *object, sd_bus_error *error);
void bmcweb_ops_tick(struct bmcweb *bmcweb);
/* turn_away.c: see there. Takes over `fd`, on which a browser serves; 0 or a negative errno. */
int bmcweb_turn_away(const struct bmcweb_object *object, int fd, const char *caller);
/* Is the caller's Unmount the one behind a browser that was turned away? It is asked once for each. */
bool bmcweb_turned_unmounts(const struct bmcweb_object *object, const char *caller);
void bmcweb_turned_forget(const struct bmcweb_object *object); /* it goes */
void bmcweb_turned_tick(struct bmcweb *bmcweb);
void bmcweb_turned_stop(struct bmcweb *bmcweb);
void bmcweb_ops_down(struct bmcweb *bmcweb);                /* the bus is gone */
void bmcweb_ops_stop(struct bmcweb *bmcweb);                /* ends those that wait for credentials */
void bmcweb_ops_forget(const struct bmcweb_object *object); /* the object goes; what was begun goes on */

#endif
