/*
 * A slot's inside, shared by slot.c (the state machine), slot_insert.c (the commands), slot_look.c (is it a
 * medium?), slot_replace.c (a source in place of the one that is read), slot_retry.c (what gets in by itself), slot_browser.c (files in browsers),
 * slot_device.c (its calls to the kernel), slot_life.c (making, reloading and removing it), slot_status.c (what it
 * says). slots.c has them all, and makes them.
 */
#ifndef SLOT_SLOT_INTERNAL_H
#define SLOT_SLOT_INTERNAL_H

#include "base/closing.h"
#include "base/defer.h"
#include "base/work.h"
#include "block/medium.h"
#include "kernel/kernel.h"
#include "kernel/link_watch.h"
#include "net/socket.h"
#include "slot/pipeline.h"
#include "slot/slot.h"
#include "slot/state.h"

#define SLOT_REQUESTS_MAX 64   /* callers that wait for one thing at a time */
#define SLOT_TICK_MS 1000      /* how often a slot that waits is looked at */
#define SLOT_STUCK_READS 1     /* ticks without an answer after which an eject gives up reads */
#define SLOT_STUCK_WRITES 30   /* the same on a writable medium: a flush may take long */
#define SLOT_FORCE_MS 10000    /* a call to the kernel that closing the source doesn't end: then the connections go too */
#define SLOT_RESTORE_MS 500    /* between tries to open an image again while the kernel's device waits for it */
#define SLOT_RETRY_FIRST_MS 1000 /* between tries of what gets in by itself: the first pause, and the longest */
#define SLOT_RETRY_MAX_MS 60000
#define SLOT_LOOK_MS 5000      /* an insert waits so long to see whether it is a medium */

/* What a slot is given when it is made: what it shares with the other slots, of which it knows nothing,
 * and whom it tells. */
struct slot_shared {
    uv_loop_t *loop;
    const struct kernel_ops *kernel;
    struct pipeline_context context;
    char *runtime_dir;
    uint64_t step_timeout_ms;
    struct nbd_server_budget budget;
    bool closing; /* the process ends, and so all slots leave */

    void (*save)(struct slot_shared *shared); /* what is in, or is to get in again after a restart, was changed */
    void (*tell)(struct slot_shared *shared, struct slot *slot, enum slot_change change);
    void (*gone)(struct slot_shared *shared); /* a slot that left has been freed */
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

/* Callers that wait for the same; SLOT_REQUESTS_MAX at most. */
struct slot_requests {
    struct link list; /* struct slot_request */
    unsigned count;
};

/* What goes in once the slot is empty. */
struct slot_next {
    struct slot_media media;
    const char *tied;
    struct slot_requests requests;
};

/* What gets in by itself, see slot_retry.c. */
enum slot_retry_kind { RETRY_NOTHING, RETRY_CONFIGURED, RETRY_RESTORED };
struct slot_retry {
    enum slot_retry_kind kind;
    bool trying;              /* a try is under way, and its end not told yet */
    bool device_waits;        /* RESTORED: the kernel's device is still that of before the restart */
    struct slot_media *media; /* RESTORED: owned by the state */
    uint64_t grace_until;     /* RESTORED: loop time, ms */
    unsigned tries;           /* that failed */
    uint64_t at;              /* the next one; loop time, ms */
    char error[SLOT_ERROR_MAX]; /* of the last one */
    time_t error_at;
    uv_timer_t timer;
};

/* A source that may take the place of the one that is read, see slot_replace.c. */
struct slot_replacement {
    struct source *source; /* NULL: none is under way */
    struct slot_media media;
    bool stays; /* how long was said */
    bool same_only;
    const char *tied;
    struct slot_request *request; /* NULL: answered */
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
    struct slot_shared *shared;
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
    struct slot_requests inserting, ejecting;
    struct slot_next *next; /* NULL: nothing */
    struct slot_replacement replacement;
    struct slot_retry retry;

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
    unsigned renewals; /* of what was inserted */

    struct io look;          /* of what goes in, see slot_look.c */
    uv_timer_t look_timer;
    bool looking;            /* the insert waits for it */
    enum medium_doubt doubt;

    struct slot_device device;
    uv_timer_t tick;         /* while something should come to its end */
    uint64_t answered;       /* by the server, at the last tick */
    unsigned stuck;          /* ticks in which it answered nothing */
    uv_timer_t stay_timer;   /* the medium is to go then */
    struct closing closing;

    char *socket; /* path */
    struct listener *listener;
    struct nbd_server *server;
};

/* slot.c */
struct slot_request *slot_request_new(slot_done *done, void *arg);
void slot_request_answer(struct slot *slot, struct slot_request *request, int status, const char *error);
void slot_requests_init(struct slot_requests *requests);
void slot_requests_add(struct slot *slot, struct slot_requests *requests, struct slot_request *request);
struct slot_request *slot_requests_pop(struct slot_requests *requests); /* NULL: none is left */
void slot_requests_answer(struct slot *slot, struct slot_requests *requests, int status, const char *error);
/* Nothing comes of it: the slot's last error, and the answer. */
void slot_refuse(struct slot *slot, struct slot_request *request, int status, const char *error);
/* `media`, `url_public` and the image's name are set; `request` is answered when the image is readable, or why not. */
void slot_begin_insert(struct slot *slot, struct source *source, struct slot_request *request);
void slot_step(struct slot *slot); /* one step towards what is wanted */
void slot_fail(struct slot *slot, int status, const char *error);
void slot_job_done(struct slot *slot, enum slot_job job, int status, const char *error);
void slot_ignore_done(void *arg, int status, const char *error);
void slot_save(struct slot *slot); /* see struct slot_shared */

/* slot_insert.c */
/* Why nothing can be inserted now; NULL: it can, or what the slot tries by itself would give way. */
const char *slot_insert_problem(const struct slot *slot);
bool slot_url_problem(const char *url, struct pipeline_refusal *refusal); /* true: `refusal` says why it is none */
/* An insert's options as media, which are the caller's to clear, and back: these options refer to the media. */
struct slot_media slot_media_of(const struct slot *slot, const char *url, const struct slot_insert_options *options);
struct slot_insert_options slot_media_options(const struct slot_media *media);
void slot_show_media(struct slot *slot);
/* The slot is empty. */
void slot_insert_now(struct slot *slot, const char *url, const struct slot_insert_options *options,
                     struct slot_request *request);
/* What is in, or going in, goes out for it. Takes over what `media` has. */
void slot_insert_next(struct slot *slot, struct slot_media *media, const char *tied, struct slot_request *request);
void slot_begin_next(struct slot *slot); /* the slot is empty now */

/* slot_look.c */
void slot_look(struct slot *slot); /* the source has opened */

/* slot_replace.c */
void slot_replace_give_up(struct slot *slot, const char *why);

/* slot_retry.c */
/* Puts in what was in before a restart (`before`, which must outlive the slot; NULL: nothing was), or what the config
 * names. */
void slot_start(struct slot *slot, struct slot_media *before);
void slot_retry_configured(struct slot *slot);
/* Nothing gets in by itself any more, since somebody else decides what is in the slot. A try under way goes on. */
void slot_retry_cancel(struct slot *slot);
const struct slot_media *slot_restoring(const struct slot *slot); /* of before a restart; NULL: there is none */
bool slot_retry_is_trying(const struct slot *slot); /* a try is under way, and its end not told yet */
void slot_retry_show(const struct slot *slot, struct slot_status *status);

/* slot_life.c: how long a medium stays */
void slot_stay_begin(struct slot *slot); /* the medium is in */

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
struct slot *slot_new(struct slot_shared *shared, unsigned index, const struct config_slot *config, char error[CONFIG_ERROR_MAX]);
/* The slot ejects, then closes its server and frees itself; `gone` of what it was given tells. */
void slot_leave(struct slot *slot);
/* A new configuration: what is in is ejected first. Its socket must be listening already. */
void slot_reconfigure(struct slot *slot, const struct config_slot *config);
/* The slot is empty and no job runs: what waited for that. */
void slot_settle(struct slot *slot);

#endif
