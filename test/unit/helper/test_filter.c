/* What a daemon that serves can still ask of the kernel, and what it can't. In processes of their own. */
#include <build-config.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "helper/filter.h"

#ifdef SANITIZED
#define STARTS_PROGRAMS true /* see helper/filter.h */
#else
#define STARTS_PROGRAMS false
#endif

#ifdef HAVE_SECCOMP
#define HAS_FILTER true
#else
#define HAS_FILTER false
#endif

/* The code is the number of the first check that failed; 0: none. */
static int in_filter(int (*check)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (filter_prepare() != 0)
            _exit(99);
        filter_install();
        _exit(check());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void *on_thread(void *arg)
{
    return arg;
}

static int do_what_is_needed(void)
{
    pthread_t thread;
    char byte;
    int pair[2];
    if (open("/dev/null", O_RDONLY) < 0)
        return 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0 || socket(AF_INET, SOCK_STREAM, 0) < 0)
        return 2;
    if (socket(AF_NETLINK, SOCK_RAW, 0) < 0)
        return 3;
    if (getrandom(&byte, 1, 0) != 1)
        return 4;
    return pthread_create(&thread, NULL, on_thread, NULL) != 0 || pthread_join(thread, NULL) != 0 ? 5 : 0;
}

static bool lacks(long result)
{
    return result == -1 && errno == ENOSYS;
}

static int do_what_is_not(void)
{
    if (!lacks(syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL)))
        return 1;
    if (!lacks(syscall(SYS_unshare, 0)) || !lacks(syscall(SYS_setns, -1, 0)))
        return 2;
    if (!lacks(syscall(SYS_bpf, 0, NULL, 0)) || !lacks(syscall(SYS_keyctl, 0, 0, 0, 0, 0)))
        return 3;
    if (!lacks(syscall(SYS_io_uring_setup, 1, NULL)) || !lacks(syscall(SYS_process_vm_writev, 1, NULL, 0, NULL, 0, 0)))
        return 4;
    if (STARTS_PROGRAMS)
        return 0;
    if (!lacks(syscall(SYS_execve, "/bin/true", NULL, NULL)) || !lacks(fork()))
        return 5;
    return lacks(syscall(SYS_ptrace, 0, 0, 0, 0)) ? 0 : 6;
}

static void what_it_needs_it_can(void **state)
{
    (void)state;
    assert_int_equal(in_filter(do_what_is_needed), 0);
}

static void what_it_does_not_need_the_kernel_has_not(void **state)
{
    (void)state;
    if (!HAS_FILTER)
        skip();
    assert_int_equal(in_filter(do_what_is_not), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_needs_it_can),
        cmocka_unit_test(what_it_does_not_need_the_kernel_has_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
