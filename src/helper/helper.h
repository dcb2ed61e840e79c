/*
 * Two processes. The daemon has the sockets, and all that parses what comes through them: it gives up every right
 * before it serves (rights.h, filter.h). The helper keeps the rights that the daemon was started with, and does for
 * it what needs them: the calls of kernel_ops, the host's hook, a port below 1024, PAM, a look at the system's accounts, and a connection to a socket
 * of bmcweb's. It is forked before the loop, a thread or a socket is there, has no descriptor but the pair's end and
 * stderr, and takes requests of one fixed size (message.h); it parses nothing that comes from anywhere else than the
 * administrator's own configuration file.
 *
 * Each call has a socket of its own, which goes with the request, so answers need no order and a caller has nothing
 * to keep. Each runs on a thread; HELPER_CALLS_MAX at a time, more are refused with -EBUSY. The callers are work
 * threads (base/work.h), which block; helper_start_hook() and helper_reload() send without waiting, and are the
 * loop's.
 *
 * A service manager may start the helper instead, with rights and limits of its own (packaging/): then the daemon
 * never has any rights. The manager accepts the daemon's connection to a SOCK_SEQPACKET socket, which only the
 * daemon's user may open, and gives that to `nbd-proxy --serve-helper` as stdin.
 *
 * The helper ignores the signals that end a daemon: it ends when the daemon's end of the pair is closed, at once, as
 * the daemon's own threads would. So a daemon that is killed leaves devices and gadgets to the next one. When it is
 * the helper that ends, `lost` is called, and all that waits for it fails with -EPIPE.
 *
 * The hook is a program of the administrator's and may need any right (lines of GPIO, a device of IPMI), but the
 * daemon's filter would be inherited by it and by all that it starts; so it is the helper's child. The daemon says
 * only which of the verbs it wants: the path is the configuration's, which the helper has from its fork and reads
 * again by itself, and it is checked before each run (host/hook.h).
 */
#ifndef HELPER_HELPER_H
#define HELPER_HELPER_H

#include <stdbool.h>
#include <uv.h>

#include "auth/system_accounts.h"
#include "host/host.h"
#include "kernel/kernel.h"

#define HELPER_CALLS_MAX 64
#define HELPER_FOLDER_MAX 100
#define HELPER_GADGETS_MAX 16

/* The part of the configuration that the helper needs. */
struct helper_settings {
    char hook[4096];
    char bmcweb_folder[HELPER_FOLDER_MAX]; /* "": none */
    struct system_groups groups; /* of the accounts; all empty: none */
    char gadgets[HELPER_GADGETS_MAX][KERNEL_NAME_MAX]; /* that may be made and removed beside our own; "": none */
};

struct helper_options {
    struct helper_settings settings;
    bool (*read)(struct helper_settings *settings, void *arg); /* reads them anew; in the helper's process */
    void *arg;
};

/* Forks the helper, or with a `path` connects to the one that a service manager serves on that socket, and hears
 * what the helper may do. 0 or a negative errno. Blocks; call this once, before any thread is there. */
int helper_begin(const struct helper_options *options, const char *path);
/* From here on the helper is watched: when it ends, `lost` comes once, from the loop. */
void helper_watch(uv_loop_t *loop, void (*lost)(void *arg), void *arg);
/* Closes our end and waits until the helper has gone. After the loop. */
void helper_end(void);
/* Closes helper_watch()'s handle, so that the loop can end. */
void helper_unwatch(void);

/* The calls of kernel_ops, done by the helper. */
extern const struct kernel_ops helper_kernel;
int helper_low_port(int fd);            /* for low_port_ask_by() */
int helper_connect_bmcweb(unsigned slot); /* a connected socket, or a negative errno */
bool helper_check_password(const char *name, const char *password, const char *peer);
int helper_look_at_accounts(struct system_accounts *accounts); /* system_accounts_look() with the configuration's groups */
/* On the loop. */
int helper_start_hook(const char *path, const struct host_request *request, int out, int err); /* host_hook_start */
void helper_reload(void);

/* server.c: the helper's process, with its end of the pair, or the connection that a service manager accepted. */
__attribute__((noreturn)) void helper_serve(int channel, const struct helper_options *options);

#endif
