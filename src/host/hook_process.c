/* The hook's process, as seen by the process that may start it. See host/hook.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "base/thread.h"
#include "host/hook.h"

#define WORDS_MAX  128 /* of a request */
#define PARAMETERS 3
#define NAP_MS     20 /* between looks at the process where the kernel has no pidfd_open() (Linux 5.3) */

/* --- the start --- */

/* A session and group of its own, to be ended with all that it starts; signals as a program expects them. */
static void set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
}

static int hook_process_spawn(const char *path, char **arguments, int out, int err, pid_t *pid)
{
    static char *environment[] = {"PATH=" HOOK_PATH, "LC_ALL=C", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    set_attributes(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    /* The hook would inherit sockets that libraries opened, or that whoever started us has left open. */
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    int error = posix_spawn(pid, path, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return -error;
}

static int hook_process_start(const char *path, const struct host_request *request, int out, int err, pid_t *pid)
{
    char words[WORDS_MAX], *rest, *arguments[PARAMETERS + 3] = {(char *)(uintptr_t)path};
    unsigned count = 1;
    host_request_text(request, words, sizeof words);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        arguments[count++] = word;
    return hook_process_spawn(path, arguments, out, err, pid);
}

/* --- until its end --- */

/* False: whoever could ask for a signal is gone. */
static bool take_signal(int call, pid_t pid, bool *signalled)
{
    uint32_t number;
    ssize_t n = recv(call, &number, sizeof number, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n != sizeof number || (number != SIGTERM && number != SIGKILL))
        return n > 0;
    kill(-pid, (int)number);
    *signalled = true;
    return true;
}

/* The process is not reaped yet, so its number is nobody else's. */
static bool has_ended(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

static void await(int call, pid_t pid, int *status)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd fds[] = {{.fd = call, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    bool signalled = false;
    while (!has_ended(pid)) {
        if (poll(fds, 2, pidfd < 0 ? NAP_MS : -1) > 0 && fds[0].revents && !take_signal(call, pid, &signalled))
            fds[0].fd = -1;
    }
    if (signalled)
        kill(-pid, SIGKILL); /* what the hook started goes with it */
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
}

void hook_serve(const char *path, const struct host_request *request, int out, int err, int call)
{
    struct hook_end end = {0};
    int status = 0;
    pid_t pid;
    end.status = hook_process_start(path, request, out, err, &pid);
    close(out);
    close(err);
    if (end.status == 0) {
        await(call, pid, &status);
        end.code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        end.killed_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }
    send(call, &end, sizeof end, MSG_NOSIGNAL);
    close(call);
}

/* --- in this process --- */

struct own_start {
    char *path;
    struct host_request request;
    int out, err, call;
};

static void *on_hook_process_thread(void *arg)
{
    struct own_start *own = arg;
    hook_serve(own->path, &own->request, own->out, own->err, own->call);
    mem_free(own->path);
    mem_free(own);
    return NULL;
}

int hook_start_here(const char *path, const struct host_request *request, int out, int err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    struct own_start *own = mem_alloc(sizeof *own);
    *own = (struct own_start){.path = mem_strdup(path),
                              .request = *request,
                              .out = fcntl(out, F_DUPFD_CLOEXEC, 3),
                              .err = fcntl(err, F_DUPFD_CLOEXEC, 3),
                              .call = pair[1]};
    int status = own->out < 0 || own->err < 0 ? -EMFILE : thread_detached(on_hook_process_thread, own, 0);
    if (status == 0)
        return pair[0];
    close(pair[0]);
    close(pair[1]);
    if (own->out >= 0)
        close(own->out);
    if (own->err >= 0)
        close(own->err);
    mem_free(own->path);
    mem_free(own);
    return status;
}
