/*
 * A slot's inside, shared by slot.c (the state machine), slot_insert.c (the commands), slot_look.c (is it a
 * medium?), slot_preview.c (what would an insert change?), slot_profile.c (what a boot reads), slot_report.c (how it went), slot_replace.c (a source in place of the one that is read), slot_retry.c (what gets in by itself), slot_stay.c (what goes by itself), slot_browser.c (files in browsers),
 * slot_device.c (its calls to the kernel), slot_life.c (making, reloading and removing it), slot_status.c (what it
 * says). slots.c has them all, and makes them.
 */
#ifndef SLOT_SLOT_INTERNAL_H
#define SLOT_SLOT_INTERNAL_H

#include <string.h>

#include "base/closing.h"
#include "base/defer.h"
#include "base/work.h"
#include "block/medium.h"
#include "kernel/kernel.h"
#include "kernel/link_watch.h"
#include "net/socket.h"
#include "profile/profiles.h"
#include "slot/pipeline.h"
#include "slot/slot.h"
#include "slot/state.h"

#define SLOT_REQUESTS_MAX 64   /* callers that wait for one thing at a time */
#define SLOT_USED_MS 1000      /* how often it is looked whether the host has ejected the medium, if that matters */
#define SLOT_TICK_MS 1000      /* how often a slot that waits is looked at */
#define SLOT_STUCK_READS 1     /* ticks without an answer after which an eject gives up reads */
#define SLOT_STUCK_WRITES 30   /* the same on a writable medium: a flush may take long */
#define SLOT_FORCE_MS 10000    /* after the source was closed a kernel call has so long; then its connections go */
#define SLOT_RESTORE_MS 500    /* between tries to open an image again while the kernel's device waits for it */
#define SLOT_RETRY_FIRST_MS 1000 /* between tries of a medium that gets in by itself: the first pause, the longest */
#define SLOT_RETRY_MAX_MS 60000
#define SLOT_PROFILE_SEARCHES_MAX 4 /* boot profiles that are looked for, those given up too */
#define SLOT_LOOK_PARTS 2
#define SLOT_LOOK_MS 5000      /* an insert waits so long to see whether the image is a medium */

/* What a slot is given when it is made: what all slots share, since a slot knows nothing of the others,
 * and whom it tells of changes. */
struct slot_shared {
    uv_loop_t *loop;
    const struct kernel_ops *kernel;
    struct pipeline_context context;
    char *runtime_dir;
    uint64_t step_timeout_ms;
    struct nbd_server_budget budget;
    struct profiles *profiles;
    bool closing; /* the process ends, and so all slots leave */

    void (*save)(struct slot_shared *shared); /* what is in, or is to get in after a restart, has changed */
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

/* The medium that goes in once the slot is empty. */
struct slot_next {
    struct slot_media media;
    const char *tied;
    struct slot_requests requests;
};

/* The medium that gets in by itself, see slot_retry.c. */
enum slot_retry_kind { RETRY_NOTHING, RETRY_CONFIGURED, RETRY_RESTORED };
struct slot_retry {
    enum slot_retry_kind kind;
    bool trying;              /* a try is under way, and its end not told yet */
    bool device_waits;        /* RESTORED: the kernel's device is still that of before the restart */
    struct slot_media *media; /* RESTORED: owned by the state */
    uint64_t grace_until;     /* RESTORED: loop time, ms */
    unsigned tries;           /* tries that failed */
    uint64_t at;              /* when the next try is; loop time, ms */
    char error[SLOT_ERROR_MAX]; /* of the last try */
    time_t error_at;
    uv_timer_t timer;
};

/* A source that may take the place of the one that is read, see slot_replace.c. */
struct slot_replacement {
    struct source *source; /* NULL: none is under way */
    struct slot_media media;
    bool stays; /* the request said how long the same image stays, too */
    const char *tied;
    struct slot_requests requests; /* none: answered */
};

/* What an insert would change, while that is found out; see slot_preview.c. */
struct slot_preview {
    struct source *source;
    slot_preview_done *done;
    void *arg;
    int status;
    char error[SLOT_ERROR_MAX];
    char *text; /* NULL: there is none */
};

/* One call to the kernel at a time; what a pool thread reads of this doesn't
 * change while it runs. */
enum slot_job { JOB_PREPARE, JOB_ATTACH, JOB_RECONNECT, JOB_BIND, JOB_UNBIND, JOB_DETACH, JOB_REMOVE, JOB_LOOK };

struct slot_device {
    enum config_attach attach; /* ATTACH_AUTO is resolved */
    struct kernel_nbd nbd;
    struct kernel_gadget gadget;
    struct kernel_medium medium;
    unsigned eject_patience_ms;
    bool swept;     /* JOB_PREPARE has succeeded: nothing from before is left */
    bool unsweepable; /* JOB_PREPARE failed: it is not tried again before the next medium */
    bool touched;   /* something of ours may be in the kernel */
    bool reconnect; /* the device from before a restart is taken up again */
    bool emptied;   /* JOB_LOOK: the host has ejected the medium */
    unsigned lost;  /* connections that died, to be replaced */

    struct work work;
    const struct kernel_ops *kernel;
    enum slot_job job;
    bool running;
    uint64_t began; /* loop time */
    int forced;     /* what was done to end the job: 0 nothing, 1 the source was closed, 2 the connections too */
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
    int failure; /* why the slot went left; 0: it was asked to */
    struct slot_requests inserting, ejecting;
    struct slot_next *next; /* NULL: nothing */
    struct slot_replacement replacement;
    struct slot_preview *preview; /* NULL: none is under way */
    struct slot_retry retry;

    /* The debts, in the order in which they are made. */
    struct source *source;   /* OPENING... */
    bool opened;             /* the source has opened */
    bool source_closed;
    bool serving;            /* ATTACHING...: the server has the source */
    bool draining;           /* the server was told to give the source back */
    bool attached;           /* the device is connected */
    bool bound;              /* BINDING...: the host sees the medium */

    struct slot_media media; /* what was inserted */
    const char *tied;        /* why the medium must not outlive the process; NULL: it may */
    char *url_public;
    char image_name[256];
    bool writable;
    unsigned renewals; /* see struct slot_status */

    struct slot_look_read {
        struct slot *slot;
        struct io io;
    } look[SLOT_LOOK_PARTS]; /* of the beginning of the image, see slot_look.c */
    unsigned look_pending;
    bool look_failed;
    unsigned char *look_head; /* what they have read; NULL: nothing is read */
    uv_timer_t look_timer;
    bool looking;            /* the insert waits for the look */
    enum medium_doubt doubt;

    struct slot_profile_search *profile_search; /* of the medium; NULL: it has ended, or there was none */
    unsigned profile_searches; /* that have not ended */
    struct host_reads reads;
    struct slot_totals past;    /* counted of media that are out */
    uint64_t prefetch_used;     /* of the medium that is in, as last counted */
    struct slot_report *report; /* of the last medium; NULL: none was read from */

    struct slot_device device;
    uv_timer_t tick;         /* runs while a job, or reads of a medium that goes, should come to an end */
    uint64_t answered;       /* what the server had answered at the last tick */
    unsigned stuck;          /* ticks in which it answered nothing */
    uv_timer_t stay_timer;   /* at its end the medium is ejected */
    uv_timer_t used_timer;   /* looks whether the host has ejected it */
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
/* Refuses the request: sets the slot's last error, and answers. */
void slot_refuse(struct slot *slot, struct slot_request *request, int status, const char *error);
/* `media`, `url_public` and the image's name are set; `request` is answered when the image is readable, or with why it
 * is not. */
void slot_begin_insert(struct slot *slot, struct source *source, struct slot_request *request);
void slot_step(struct slot *slot); /* one step towards what is wanted */
void slot_fail(struct slot *slot, int status, const char *error);
void slot_job_done(struct slot *slot, enum slot_job job, int status, const char *error);
void slot_ignore_done(void *arg, int status, const char *error);
void slot_save(struct slot *slot); /* see struct slot_shared */

/* slot_insert.c */
uint64_t slot_medium_id(const struct slot *slot); /* of the medium that is in: another one for the next */
/* Why the slot takes no medium; "": it does, or what it tries by itself would give way. */
const char *slot_insert_problem(const struct slot *slot, char words[SLOT_ERROR_MAX]);
bool slot_url_problem(const char *url, struct pipeline_refusal *refusal); /* true: it is none, and `refusal` says why */
/* Of options and media, where NULL and "" both say nothing. */
static inline bool slot_same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}
/* An insert's options as media, which the caller must clear; and back to options, which point into the media. */
struct slot_media slot_media_of(const struct slot *slot, const char *url, const struct slot_insert_options *options);
struct slot_insert_options slot_media_options(const struct slot_media *media);
void slot_show_media(struct slot *slot);
/* Inserts at once; the slot must be empty. */
void slot_insert_now(struct slot *slot, const char *url, const struct slot_insert_options *options,
                     struct slot_request *request);
/* Ejects the medium that is in, or going in, and then inserts this one. Takes over the strings of `media`. */
void slot_insert_next(struct slot *slot, struct slot_media *media, const char *tied, struct slot_requests *requests);
/* Whether that insert asks for just this medium: whoever sends it waits with who asked before. */
bool slot_is_asked_for(const struct slot *slot, const struct slot_media *media, const char *url,
                       const struct slot_insert_options *options);
void slot_begin_next(struct slot *slot); /* called when the slot has become empty */

/* slot_look.c */
void slot_look(struct slot *slot); /* the source has opened */

/* slot_report.c */
void slot_report_end(struct slot *slot); /* the source has closed, and is not freed yet */

/* slot_reads.c */
void slot_read_done(void *arg, const struct io *io, uint64_t waited_us); /* of struct nbd_server_options */
void slot_reads_end(struct slot *slot); /* the source has closed, and is not freed yet */

/* slot_profile.c */
void slot_profile_begin(struct slot *slot); /* the source has opened */
void slot_profile_end(struct slot *slot);   /* and has closed, and is not freed yet */

/* slot_replace.c */
void slot_replace_give_up(struct slot *slot, const char *why);

/* slot_preview.c */
void slot_preview_give_up(struct slot *slot);

/* slot_retry.c */
/* Puts in what was in before a restart (`before`, which must outlive the slot; NULL: nothing was), or what the config
 * names. */
void slot_start(struct slot *slot, struct slot_media *before);
void slot_retry_configured(struct slot *slot);
/* Nothing gets in by itself any more, since somebody else decides what is in the slot. A try under way goes on. */
void slot_retry_cancel(struct slot *slot);
const struct slot_media *slot_restoring(const struct slot *slot); /* the medium from before a restart; NULL: none */
bool slot_retry_is_trying(const struct slot *slot); /* a try is under way, and its end not told yet */
void slot_retry_show(const struct slot *slot, struct slot_status *status);

/* slot_stay.c: how long a medium stays */
void slot_stay_begin(struct slot *slot); /* the medium is in */
void slot_stay_end(struct slot *slot);   /* and is out */
void slot_stay_looked(struct slot *slot); /* JOB_LOOK is done */

/* slot_device.c */
void slot_device_setup(struct slot *slot);
/* What the drive wants of an image. */
struct pipeline_drive slot_device_drive(const struct slot *slot);
/* Chooses how the opened source is shown: a CD or a disk, read-only or not; 0 or -errno. */
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
/* The slot ejects, then closes its server and frees itself; `gone` of struct slot_shared tells. */
void slot_leave(struct slot *slot);
/* Takes a new configuration: the medium that is in is ejected first. The new socket must be listening already. */
void slot_reconfigure(struct slot *slot, const struct config_slot *config);
/* Does what had to wait until the slot is empty and no job runs. */
void slot_settle(struct slot *slot);

#endif
