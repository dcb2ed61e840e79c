/*
 * A slot's inside, shared by slot.c (the state machine and its commands),
 * slot_browser.c (files in browsers), slot_device.c (its calls to the kernel),
 * slot_life.c (making, reloading and removing it), slots.c (the set) and state.c
 * (what outlives the process).
 */
#ifndef SLOT_SLOT_INTERNAL_H
#define SLOT_SLOT_INTERNAL_H

#include "base/closing.h"
#include "base/defer.h"
#include "base/work.h"
#include "kernel/kernel.h"
#include "kernel/link_watch.h"
#include "net/socket.h"
#include "slot/pipeline.h"
#include "slot/slot.h"
#include "slot/state.h"

#define SLOT_REQUESTS_MAX 64   /* ejects that wait at a time */
#define SLOT_TICK_MS 1000      /* how often a slot that waits is looked at */
#define SLOT_STUCK_READS 1     /* ticks without an answer after which an eject gives up reads */
#define SLOT_STUCK_WRITES 30   /* the same on a writable medium: a flush may take long */
#define SLOT_FORCE_MS 10000    /* a call to the kernel that closing the source doesn't end: then the connections go too */
#define SLOT_RESTORE_MS 500    /* between tries to open an image again after a restart */

struct slots {
    uv_loop_t *loop;
    struct pipeline_context context;
    const struct kernel_ops *kernel;
    struct link_watch *link_watch;
    char *file_directory, *upload_directory;
    struct slot_credentials credentials;
    char *runtime_dir;
    uint64_t step_timeout_ms;
    struct nbd_server_budget budget;
    struct state state;
    struct slots_watch *watch; /* NULL: nobody */
    struct slot *slots[CONFIG_SLOTS_MAX];
    unsigned count;
    unsigned alive; /* slots not freed yet, those being removed too */
    bool closing;
    struct defer closed_defer;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* An answer that is owed to a caller. */
struct slot_request {
    struct link link;
    struct defer defer;
    slot_done *done;
    void *arg;
    int status;
    char error[SLOT_ERROR_MAX];
};

/* One call to the kernel at a time; what a pool thread reads of this doesn't
 * change while it runs. */
enum slot_job { JOB_PREPARE, JOB_ATTACH, JOB_RECONNECT, JOB_BIND, JOB_UNBIND, JOB_DETACH, JOB_REMOVE };

struct slot_device {
    enum config_attach attach; /* ATTACH_AUTO is resolved */
    struct kernel_nbd nbd;
    struct kernel_gadget gadget;
    struct kernel_medium medium;
    unsigned eject_patience_ms;
    bool swept;     /* JOB_PREPARE has done its work: nothing of before is left */
    bool unsweepable; /* it failed: not again before the next medium */
    bool touched;   /* something of ours may be in the kernel */
    bool reconnect; /* the device of before a restart is gone on with */
    unsigned lost;  /* connections that died, to be replaced */

    struct work work;
    const struct kernel_ops *kernel;
    enum slot_job job;
    bool running;
    uint64_t began; /* loop time */
    int forced;     /* what was done to end it: 0 nothing, 1 the source closed, 2 the connections too */
    int status;
    char error[KERNEL_ERROR_MAX];
};

struct slot {
    struct slots *set;
    unsigned index;
    struct config_slot config;
    struct config_slot *next_config; /* takes effect when the slot is empty */
    enum slot_state state;
    bool wanted;  /* a medium should be in */
    bool leaving; /* frees itself when empty */
    bool trace;
    uint64_t ready_at;
    char error[SLOT_ERROR_MAX];
    time_t error_at;
    int failure; /* why it went left; 0: it was asked to */
    struct slot_request *inserting;
    struct link ejecting; /* struct slot_request */
    unsigned ejecting_count;

    /* The debts, in the order in which they are made. */
    struct source *source;   /* OPENING... */
    bool opened;             /* it has its facts */
    bool source_closed;
    bool serving;            /* ATTACHING...: the server has it */
    bool draining;           /* the server was told to give it back */
    bool attached;           /* the device is connected */
    bool bound;              /* BINDING...: the host sees it */

    struct slot_media media; /* what was inserted */
    const char *tied;        /* why it must not outlive the process; NULL: it may */
    char *url_public;
    char image_name[256];
    bool writable;

    struct slot_device device;
    uv_timer_t tick;         /* while something should come to its end */
    uint64_t answered;       /* by the server, at the last tick */
    unsigned stuck;          /* ticks in which it answered nothing */
    uv_timer_t stay_timer;   /* the medium is to go then */
    uv_timer_t restore_timer;
    struct slot_media *restoring; /* owned by the state; NULL: no */
    uint64_t restore_until;
    bool restore_now;        /* the insert that begins is a try to restore */
    struct closing closing;

    char *socket; /* path */
    struct listener *listener;
    struct nbd_server *server;
};

/* slot.c */
struct slot_request *slot_request_new(slot_done *done, void *arg);
void slot_request_answer(struct slot *slot, struct slot_request *request, int status, const char *error);
/* Why nothing can be inserted now; NULL: it can. */
const char *slot_insert_problem(const struct slot *slot);
/* `shown` and the image's name are set; `request` is answered when the image is readable, or why not. */
void slot_begin_insert(struct slot *slot, struct source *source, struct slot_request *request);
void slot_step(struct slot *slot); /* one step towards what is wanted */
void slot_fail(struct slot *slot, int status, const char *error);
void slot_job_done(struct slot *slot, enum slot_job job, int status, const char *error);
void slot_ignore_done(void *arg, int status, const char *error);

/* slot_life.c: how long a medium stays */
void slot_stay_begin(struct slot *slot); /* it is in */

/* slot_device.c */
void slot_device_setup(struct slot *slot);
/* What the drive wants of an image. */
struct pipeline_drive slot_device_drive(const struct slot *slot);
/* How the opened source is shown: a CD or a disk, read-only or not; 0 or -errno. */
int slot_device_choose(struct slot *slot, char error[SLOT_ERROR_MAX]);
/* Starts the job; slot_job_done() comes later, also when there is nothing to do. */
void slot_device_start(struct slot *slot, enum slot_job job);
bool slot_device_uses_kernel(const struct slot *slot);
/* Gives the kernel new connections for those that died, if any did. */
void slot_device_replace_lost(struct slot *slot);

/* slot_life.c */
/* The default path when the config gives none. */
char *slot_socket_path(const struct config_slot *config, const char *runtime_dir);
struct listener *slot_listen(struct slot *slot, const struct config_slot *config, const char *path, char error[CONFIG_ERROR_MAX]);
struct slot *slot_new(struct slots *set, unsigned index, const struct config_slot *config, char error[CONFIG_ERROR_MAX]);
/* Puts in what was in before a restart, or what the config names. */
void slot_start(struct slot *slot);
/* Ejects, then closes its server and frees itself; counts set->alive down. */
void slot_leave(struct slot *slot);
/* A new configuration: what is in is ejected first. Its socket must be listening already. */
void slot_reconfigure(struct slot *slot, const struct config_slot *config);
/* The slot is empty and no job runs: what waited for that. */
void slot_settle(struct slot *slot);
/* Somebody else decides what is in the slot after the restart. */
void slot_restore_cancel(struct slot *slot);

/* slots.c */
void slots_save_state(struct slots *set); /* what is in was changed */
void slots_slot_gone(struct slots *set); /* the slot has been freed */
void slots_tell(struct slot *slot, enum slot_change change);

#endif
