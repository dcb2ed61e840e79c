/*
 * A slot: one drive of the host. It owns the pipeline of the medium that is in
 * it (source -> cache) and what shows it to the host: an NBD server on a UNIX
 * socket and, as the configuration says, the kernel's /dev/nbdN in front of it and
 * a USB gadget that exports the device. Commands only say what is wanted; one
 * function moves the state, one step at a time, and what each state takes is a debt
 * that is paid on the way back to EMPTY:
 *
 *   EMPTY -> OPENING -> ATTACHING -> BINDING --> READY
 *     ^         |           |           |          |
 *     +- CLOSING <----- DETACHING <- UNBINDING <---+
 *   debt:    source     + nbd device   + gadget
 *
 * The server keeps answering while the gadget and the device are taken away.
 * A failure is not a state: it sets the last error, and the slot then wants EMPTY and
 * walks left.
 */
#ifndef SLOT_SLOT_H
#define SLOT_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <uv.h>

#include "base/list.h"
#include "block/boot_report.h"
#include "block/cache.h"
#include "block/heat.h"
#include "block/source.h"
#include "config/config.h"
#include "kernel/kernel.h"
#include "nbd/server.h"
#include "remote/image_location.h"
#include "seed/wish.h"
#include "slot/host_reads.h"
#include "source/browser.h"

#define SLOT_ERROR_MAX SOURCE_ERROR_MAX
#define SLOT_URL_MAX 8192

enum slot_state {
    SLOT_EMPTY,
    SLOT_OPENING,
    SLOT_ATTACHING,
    SLOT_BINDING,
    SLOT_READY,
    SLOT_UNBINDING,
    SLOT_DETACHING,
    SLOT_CLOSING
};
const char *slot_state_name(enum slot_state state); /* "empty", "opening", ... */

#define SLOT_STAYS UINT64_MAX

/* What a medium stays for, beside its time. */
enum slot_until {
    SLOT_UNTIL_EJECTED,
    SLOT_UNTIL_POWER_OFF, /* the host was on, and is off: see slot_tell_power() */
    SLOT_UNTIL_USED,      /* the host has ejected it: for a USB drive only */
    SLOT_UNTILS
};
const char *slot_until_name(enum slot_until until); /* of Redfish's EjectPolicy: "Persistent", ... */
bool slot_until_parse(const char *name, enum slot_until *until);

/* What an insert may say beside the URL; NULL, 0 or -1 means: as the config has it. */
struct slot_insert_options {
    const char *user, *password, *bearer_token;
    const char *ca_file;
    const char *kernel_args; /* further arguments for the kernels that the image boots (image/boot_edit.h) */
    const char *menu_timeout; /* seconds after which the image's boot menus boot their default */
    struct seed_wish seed; /* of a config medium, and of the machine's network */
    bool config;          /* the URL leads to a config medium's files; so it does when the wish is of a medium */
    const char *ca_pem;   /* certificates in PEM that are trusted beside those of the file */
    const char *client_pem; /* our certificate and its key in PEM, for the server of an https:// image */
    const char *by;       /* who asks, for those who find the slot taken; NULL: not known */
    const char *profile;  /* "no", "own", "auto", or where a boot profile is: a URL or a path */
    const char *tied;     /* why the medium must not outlive the process, a text that outlives the slot; NULL: it may */
    uint64_t stay_ms;     /* after that time the medium is ejected; SLOT_STAYS: never */
    enum slot_until until;
    bool nfs_ids; /* the caller, an administrator, may say in the URL as which user an NFS server is asked */
    int verify;   /* -1, 0, 1 */
    int writable; /* -1, 0, 1 */
    bool keeps_stay; /* slot_replace(): the same image stays for what is left of its time; the above is of another one */
};

struct slot_counters {
    struct source_stats source;           /* of the source that talks to the image's server, the cache included */
    uint64_t cached;                      /* bytes of the image in the cache */
    uint64_t overlay_used, overlay_bound; /* bytes; 0 without an overlay */
    const char *overlay_in;               /* "memory", "file"; "" without one */
    bool overlay_kept;                    /* it stays there at the eject */
};

/* The URL of a config medium whose files come with the insert: "config:LABEL". */
#define SLOT_CONFIG_SCHEME  "config:"
#define SLOT_CONFIG_URL_MAX 64
void slot_config_url(const struct seed_wish *wish, char url[SLOT_CONFIG_URL_MAX]);

enum slot_via { SLOT_VIA_NOTHING, SLOT_VIA_URL, SLOT_VIA_BROWSER };

struct slot_status {
    const char *name;
    unsigned index;
    enum config_media media;
    enum slot_state state;
    const char *socket;     /* path */
    enum config_attach attach; /* as resolved */
    const char *device;     /* "/dev/nbd0", "" when there is none */
    bool cdrom;             /* the host sees a CD-ROM */
    char *image;            /* public form of the URL, "" when empty; valid until the slot changes */
    const char *url;        /* as the insert gave it, with any secrets; "" when there is none; valid as `image` is */
    const char *by;         /* who inserted the medium; "" when that is not known */
    const char *user;       /* for the image's server, as the insert gave it; "" for none */
    const char *kernel_args, *menu_timeout; /* as the insert gave them; "" for none; valid as `image` is; not to be shown */
    const struct seed_wish *seed; /* the same; never NULL */
    bool config;            /* the medium is a config medium */
    bool verify;            /* the certificate of the image's server is, or would be, checked */
    char image_name[256];
    uint64_t size;
    bool writable;
    enum slot_via via;
    bool waiting;           /* for a browser to come back */
    uint64_t medium;        /* another number for each medium that was ready in any slot; 0 when none is */
    uint64_t inserted_ms;   /* loop time since the insert was ready; 0 when not */
    uint64_t mean_rate;     /* bytes a second that the host has read since then */
    const char *warning;    /* why one may doubt that the image is a medium; "" for no reason */
    bool is_page;           /* the medium is a web page */
    const char *error;      /* the last failure in words, "" if none since the last insert */
    time_t error_at;        /* of that failure */
    bool failing;           /* the medium is in, and can't be read for now */
    unsigned renewals;      /* how often the medium went on from another URL or with other credentials */
    uint64_t stay_ms;       /* how long the medium stays in all; 0: until it is ejected */
    enum slot_until until;
    bool host_may_eject;    /* the slot is a drive that the host can eject from */
    char awaited[256];      /* the image that could not be put in yet and is tried again, in public form; "" for none */
    unsigned awaited_tries; /* tries that failed */
    uint64_t awaited_ms;    /* until the next try; 0: it is under way */
    struct slot_counters counters;
    struct nbd_server_stats server;
    struct nbd_server_read oldest;     /* the read of the host that waits longest; waited_us 0: none waits */
    const struct host_reads *reads;    /* valid until the loop turns */
};

struct slot;

/* `done(arg, 0, "")` once the image is probed and readable, else a negative
 * errno and the reason in words; exactly once, never inside the call. */
typedef void slot_done(void *arg, int status, const char *error);

/* What happened to a medium: the host can read it; it was ejected; it is out because of a
 * failure, or never got in. */
enum slot_change { SLOT_INSERTED, SLOT_EJECTED, SLOT_FAILED };

/* -EBUSY when the slot is not empty (a medium that it tries to put in by itself gives way); -EINVAL for a URL that
 * can't be a source. Whoever asks again for what is going in already, in the same words, gets that insert's answer
 * with it. */
void slot_insert(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg);
/* As slot_insert(), but a medium that is in makes room. If the new image is the same (by another URL, with other
 * credentials), it is exchanged beneath the host, which does not notice; another image is inserted once the medium
 * that is in is ejected. If the new image can't be read, the medium that is in stays. The same asked for again meanwhile
 * gets the same answer. */
void slot_replace(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg);
/* What slot_insert() would change in the image, for people; nothing is inserted. `text` is valid during the call. */
typedef void slot_preview_done(void *arg, int status, const char *error, const char *text);
/* -EINVAL: the options change nothing; -EBUSY: another preview is under way. */
void slot_preview(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_preview_done *done,
                  void *arg);
/* Ejecting an empty slot succeeds. An insert under way is given up: it gets -ECANCELED. */
void slot_eject(struct slot *slot, slot_done *done, void *arg);
/* An insert under way is given up: it gets -ECANCELED. A medium that is in stays. */
void slot_give_up(struct slot *slot);
void slot_get_status(struct slot *slot, struct slot_status *status);
/* Whether the host waits so long for data that people are told. */
bool slot_host_waits(const struct slot_status *status);
/* Somebody has taken note: failed reads and the last error are not told again, unless they go on. */
void slot_dismiss(struct slot *slot);
/* What was counted of all media that were in since the slot was made. */
struct slot_totals {
    struct source_stats source; /* the link's figures are not set; `wasted` has what was unread at an eject, too */
    uint64_t prefetch_used;     /* bytes that were read ahead, and read then */
};
void slot_get_totals(struct slot *slot, struct slot_totals *totals);
/* Whether a medium is to get in by itself: an insert that failed just now is tried again then. */
bool slot_awaits(const struct slot *slot);
/* Whether the slot's images may come from other machines by that protocol, which is built in and allowed then. */
bool slot_speaks(const struct slot *slot, enum location_kind kind);
/* The medium that is in, or going in, is ejected when it has been in for that long from now on; 0: it stays.
 * `tied` is why the medium must not outlive the process, as in the options of an insert. */
void slot_set_stay(struct slot *slot, uint64_t stay_ms, enum slot_until until, const char *tied);
/* The host is on, or off. To be told again and again while a medium is in that stays until the host is off. */
void slot_tell_power(struct slot *slot, bool on);
/* Could a browser with that claim (see source/browser.h) be connected now, and its file be changed as the options say
 * (boot configurations, network; NULL: not at all)? 0, or a negative errno (-EINVAL: never) and why not. */
int slot_browser_problem(struct slot *slot, const char *claim, const struct slot_insert_options *changes,
                         char error[SLOT_ERROR_MAX]);
/* To be called after slot_browser_problem() gave 0, before the loop turns. The browser's file becomes the
 * medium of an empty slot, with the changes; a slot that waits for the file goes on with it as it was. `name` is the file's,
 * for people; it may be "". Takes over the connection's stream. `done` as for slot_insert(). */
void slot_connect_browser(struct slot *slot, const char *name, const char *by, const struct browser_connection *connection,
                          const struct slot_insert_options *changes, slot_done *done, void *arg);
/* The connection with that `arg` is not allowed any longer: its medium is ejected. */
void slot_revoke_browser(struct slot *slot, const void *arg);
/* How much of each part of the medium was read; NULL: there is no medium. Valid until the loop turns. */
const struct heat *slot_heat(struct slot *slot);
/* Whether that may be `profile` of an insert from another machine: "no", "own", "auto", or a URL of another machine. */
bool slot_profile_may_be(const char *profile);
/* How the boot from a medium went, as far as the daemon had to fetch it. */
struct slot_report {
    char image[256];
    bool ended;               /* the medium is out */
    struct boot_report reads; /* the host's */
    struct source_stats source;
    struct host_reads_failed failed; /* of the host's reads */
    uint64_t vain;            /* bytes that were read ahead and never wanted */
    bool profile, profile_fits; /* a boot profile was followed, and the host reads by it */
};
/* Of the medium that is in, or of the last one. False: there was none, or nothing was read of it. */
bool slot_get_report(struct slot *slot, struct slot_report *report);
/* What was read of the medium that is in, as JSON (profile/profile_json.h), for mem_free(); NULL: nothing that would
 * be of use at another boot. */
char *slot_profile_text(struct slot *slot);
/* `trace`: each io of this slot is logged at info level. */
void slot_set_trace(struct slot *slot, bool on);

#endif
