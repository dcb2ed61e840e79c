/*
 * The host's power and boot source. The daemon owns neither: a back-end does what
 * is asked for, one operation at a time, in the order it was asked. Back-ends
 * (backend.h): a hook, an executable of the platform (hook.h); OpenBMC's objects on
 * D-Bus (openbmc.h); or none, which answers each request with -ENODEV.
 *
 * Names of power states, reset types, boot targets, and so on are Redfish's own
 * (DMTF DSP2046, ComputerSystem).
 *
 * A request is its caller's until `done`, which comes exactly once and never
 * inside the call. Each ends: the back-end has `timeout_ms`, and host_close() ends
 * what is left with -ECANCELED.
 *
 * The state is what the platform said last. Readers that wait at the same time
 * share one answer, and an answer younger than HOST_FRESH_MS serves again, failures
 * too, so that many who ask don't make the platform be asked as often. A change makes
 * the answer old at once.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <uv.h>

#include "base/defer.h"
#include "base/list.h"

#define HOST_ERROR_MAX   512
#define HOST_CHANGES_MAX 8  /* changes that wait for their turn; more get -EBUSY */
#define HOST_FACT_MAX    128
#define HOST_READERS_MAX 64 /* the same */
#define HOST_TWINS_MAX   64 /* who ask for a change that waits or runs; the same */
#define HOST_FRESH_MS    1000
#define HOST_TEXT_MAX    1024 /* what host_state_text() writes */

enum host_power {
    HOST_POWER_UNKNOWN,
    HOST_POWER_ON,
    HOST_POWER_OFF,
    HOST_POWER_POWERING_ON,
    HOST_POWER_POWERING_OFF,
    HOST_POWER_PAUSED,
    HOST_POWERS
};

enum host_reset {
    HOST_RESET_ON,
    HOST_RESET_FORCE_ON,
    HOST_RESET_FORCE_OFF,
    HOST_RESET_GRACEFUL_SHUTDOWN,
    HOST_RESET_GRACEFUL_RESTART,
    HOST_RESET_FORCE_RESTART,
    HOST_RESET_POWER_CYCLE,
    HOST_RESET_PUSH_POWER_BUTTON,
    HOST_RESET_NMI,
    HOST_RESETS
};

enum host_target {
    HOST_TARGET_NONE, /* the firmware's own order */
    HOST_TARGET_PXE,
    HOST_TARGET_FLOPPY,
    HOST_TARGET_CD,
    HOST_TARGET_USB,
    HOST_TARGET_HDD,
    HOST_TARGET_BIOS_SETUP,
    HOST_TARGET_UTILITIES,
    HOST_TARGET_DIAGS,
    HOST_TARGET_SD_CARD,
    HOST_TARGETS
};

enum host_enabled { HOST_DISABLED, HOST_ONCE, HOST_CONTINUOUS, HOST_ENABLEDS };
enum host_mode { HOST_MODE_UNKNOWN, HOST_MODE_UEFI, HOST_MODE_LEGACY, HOST_MODES };

struct host_boot {
    enum host_target target;
    enum host_enabled enabled;
    enum host_mode mode; /* UNKNOWN when the platform has no modes */
};

struct host_state {
    bool known; /* the platform has answered since it was configured; else all below is empty */
    enum host_power power;
    struct host_boot boot;
    bool boot_told;                  /* set by back-ends: the platform told `boot`; else what was set here is kept */
    unsigned resets, targets, modes; /* what it can do: bits 1 << enum */
    char serial[HOST_FACT_MAX], uuid[HOST_FACT_MAX], mac[HOST_FACT_MAX]; /* the host's own; "": not told */
    int status;                      /* of the last time the platform was asked, with words */
    char error[HOST_ERROR_MAX];
    time_t failed_at; /* when this failure began */
};

enum host_verb { HOST_GET, HOST_RESET, HOST_BOOT };

struct host_request {
    enum host_verb verb;
    enum host_reset reset;
    struct host_boot boot;
    /* Not 0: what it is for. A change that is asked for again for the same, while the first one waits or runs, is made once,
     * and both get its answer. A reset may have the boot source that was set for it: with another one it is another. */
    uint64_t occasion;
    void (*done)(struct host_request *request);

    /* 0; -ENODEV: nothing is configured; -ENOTSUP: the platform can't; -EAGAIN: not now;
     * -EBUSY: too many wait; -ETIMEDOUT; -ECANCELED: the daemon stops; others: it failed. */
    int status;
    char error[HOST_ERROR_MAX]; /* words for people; "" */

    struct link link; /* private */
    struct link twins; /* private: asked for again meanwhile */
    unsigned twin_count;
};

/* Starts the hook for somebody who may do less than it has to, with these ends of pipes as stdout and stderr, which stay
 * the caller's. Does not block. A SOCK_SEQPACKET socket, or a negative errno: SIGTERM and SIGKILL sent to it as
 * uint32_t are for the hook's process group; struct hook_end (hook.h) comes once. */
typedef int host_hook_start(const char *path, const struct host_request *request, int out, int err);

struct host_options {
    const char *hook; /* copied; "": none */
    const char *dbus; /* "system", "session" or an address of OpenBMC's bus; copied; "": none */
    uint64_t timeout_ms;
    host_hook_start *start; /* NULL: the hook runs as we do */
};

struct host;

/* Are the options good? For when the configuration is read. False: `error` says what to do. */
bool host_check(const struct host_options *options, char error[HOST_ERROR_MAX]);
/* Never NULL. The platform is asked for its state at once. */
struct host *host_new(uv_loop_t *loop, const struct host_options *options);
/* Options that differ take effect once what is running has ended. */
void host_reload(struct host *host, const struct host_options *options);
bool host_is_configured(const struct host *host);
const struct host_state *host_get_state(const struct host *host);
void host_submit(struct host *host, struct host_request *request);
/* Submits a change if it is one that waits or runs, for the same occasion. False: it is not, and nothing is done. */
bool host_join(struct host *host, struct host_request *request);
/* True: the platform can't do the request, as far as is known, and `error` says why. */
bool host_problem(const struct host *host, const struct host_request *request, char error[HOST_ERROR_MAX]);
/* Requests end with -ECANCELED, also those submitted from now on. */
void host_close(struct host *host, void (*closed)(void *arg), void *arg);
/* After `closed`, once nobody submits any more. */
void host_free(struct host *host);

/* --- names.c --- */

const char *host_power_name(enum host_power power); /* "On"; of UNKNOWN: "Unknown" */
const char *host_reset_name(enum host_reset reset);
const char *host_target_name(enum host_target target);
const char *host_enabled_name(enum host_enabled enabled);
const char *host_mode_name(enum host_mode mode);
/* Exactly as Redfish spells it. */
bool host_power_parse(const char *text, enum host_power *power);
bool host_reset_parse(const char *text, enum host_reset *reset);
bool host_target_parse(const char *text, enum host_target *target);
bool host_enabled_parse(const char *text, enum host_enabled *enabled);
bool host_mode_parse(const char *text, enum host_mode *mode);
/* All that the parsers take: "On, ForceOn, ..." */
void host_reset_names(char out[HOST_TEXT_MAX]);
void host_target_names(char out[HOST_TEXT_MAX]);
/* "Cd Once UEFI"; without a mode when that is not known. */
void host_boot_text(const struct host_boot *boot, char *out, size_t size);
/* "reset ForceRestart" */
void host_request_text(const struct host_request *request, char *out, size_t size);
/* Lines in the form of a hook's answer to `get`. */
void host_state_text(const struct host_state *state, char out[HOST_TEXT_MAX]);

#endif
