/*
 * The platform's hook: an executable that is given the verb and its parameters as
 * arguments (nbd-proxy.conf(5) has the protocol):
 *
 *     HOOK get
 *     HOOK reset ForceRestart
 *     HOOK boot Cd Once UEFI
 *
 * It runs without a shell, in / and in a process group of its own, with a fixed
 * environment (HOOK_PATH, LC_ALL=C), stdin from /dev/null, pipes as stdout and
 * stderr, and nothing else open. Of stdout HOOK_ANSWER_MAX bytes are taken, more is
 * an error; lines on stderr are logged, HOOK_LOG_LINES of them. After its time the
 * group gets SIGTERM, HOOK_KILL_MS later SIGKILL. What it leaves running in the
 * background is no matter of ours; if such a process keeps the pipes open, the answer
 * waits for HOOK_DRAIN_MS.
 */
#ifndef HOST_HOOK_H
#define HOST_HOOK_H

#include "host/backend.h"

#define HOOK_ANSWER_MAX 4096
#define HOOK_LINE_MAX   256 /* of stderr; longer ones are cut */
#define HOOK_LOG_LINES  32
#define HOOK_KILL_MS    2000
#define HOOK_DRAIN_MS   500
#define HOOK_PATH       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Exit codes besides 0, as in sysexits.h. */
#define HOOK_NOT_SUPPORTED 64 /* EX_USAGE: the platform has no such thing */
#define HOOK_NOT_NOW       75 /* EX_TEMPFAIL: it may work later */

/* `start`: the options' one; NULL: the process is our own child. */
struct host_backend *hook_new(uv_loop_t *loop, const char *path, uint64_t timeout_ms, host_hook_start *start);

/* --- hook_process.c --- */

/* What comes on the socket of host_hook_start, once. */
struct hook_end {
    int32_t status;          /* 0: the hook ran; else a negative errno: it could not be started */
    int32_t code, killed_by; /* its exit code, or the signal */
    char error[HOST_ERROR_MAX]; /* what to do about the status; "" if it is 0 */
};

/* The other side of that socket: starts the hook, waits for its end and tells it. Blocks; closes the fds. */
void hook_serve(const char *path, const struct host_request *request, int out, int err, int call);
/* A host_hook_start with a thread for hook_serve(). */
int hook_start_here(const char *path, const struct host_request *request, int out, int err);

/* --- hook_file.c --- */

/* Whether root or we alone can change what runs: an absolute path, a regular file that can be
 * executed, it and the folders above it not to be written by others. */
bool hook_file_check(const char *path, char error[HOST_ERROR_MAX]);

/* --- hook_answer.c --- */

/* The answer to `get`, which is changed in place. Pure. */
bool hook_answer_parse(char *text, struct host_state *state, char error[HOST_ERROR_MAX]);

#endif
