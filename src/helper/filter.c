#include "helper/filter.h"

#include <build-config.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"

#define WHO "nbd-proxy"

#ifdef HAVE_SECCOMP
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the kernel loads; BPF_MAXINSNS is its own limit. */
static struct {
    unsigned short length; /* 0: there is none */
    struct sock_filter code[BPF_MAXINSNS];
} program;

/* By name: each architecture has its own selection of calls, and its own names for some of them. */
static const char *const allowed[] = {
    /* files */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "open", "openat",
    "openat2", "close", "close_range", "creat", "lseek", "_llseek", "stat", "stat64", "fstat", "fstat64", "lstat", "lstat64",
    "newfstatat", "fstatat64", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "rename",
    "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "chmod", "fchmod", "fchmodat",
    "fchmodat2", "chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32", "umask", "truncate", "truncate64",
    "ftruncate", "ftruncate64", "fallocate", "fsync", "fdatasync", "sync_file_range", "sync_file_range2", "fadvise64",
    "fadvise64_64", "arm_fadvise64_64", "readahead", "flock", "fcntl", "fcntl64", "ioctl", "dup", "dup2", "dup3", "pipe",
    "pipe2", "getdents", "getdents64", "statfs", "statfs64", "fstatfs", "fstatfs64", "sendfile", "sendfile64",
    "copy_file_range", "splice", "tee", "utimensat", "utimensat_time64", "memfd_create", "inotify_init1", "inotify_add_watch",
    "inotify_rm_watch",
    /* sockets */
    "socket", "socketpair", "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "getsockopt",
    "setsockopt", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64",
    "shutdown", "socketcall",
    /* waiting */
    "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64", "epoll_create", "epoll_create1",
    "epoll_ctl", "epoll_ctl_old", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "timerfd_create",
    "timerfd_settime", "timerfd_settime64", "timerfd_gettime", "timerfd_gettime64", "signalfd", "signalfd4", "nanosleep",
    "clock_nanosleep", "clock_nanosleep_time64", "pause", "wait4", "waitid",
    /* memory */
    "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "brk", "msync", "mincore", "mlock", "mlock2", "munlock",
    "membarrier", "pkey_alloc", "pkey_free", "pkey_mprotect", "map_shadow_stack", "cacheflush", "riscv_flush_icache",
    /* threads; clone below */
    "futex", "futex_time64", "futex_waitv", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu",
    "getpriority", "exit", "exit_group", "gettid", "set_tls", "set_thread_area", "get_tls", "arch_prctl",
    /* signals */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigtimedwait_time64",
    "rt_sigsuspend", "sigaltstack", "restart_syscall", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    /* time, and who and where we are */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "gettimeofday", "time", "times", "getrandom",
    "uname", "sysinfo", "getrlimit", "ugetrlimit", "setrlimit", "prlimit64", "getrusage", "getpid", "getppid", "getpgrp",
    "getpgid", "getsid", "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32",
    "getresuid", "getresuid32", "getresgid", "getresgid32", "getgroups", "getgroups32", "capget", "capset", "prctl",
#ifdef SANITIZED
    "ptrace", "clone", "clone3", "fork", "vfork", "execve", "process_vm_readv", "personality", "sched_getattr", "setpriority",
#endif
};

/* A name that libseccomp does not know is one of a newer kernel, or of another architecture. 0 or a negative errno. */
static int allow(scmp_filter_ctx filter, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
}

/* clone() may make a thread of this process, but no process. s390 has the flags in the second place. */
static int allow_threads(scmp_filter_ctx filter)
{
#if defined __s390__ || defined __s390x__
    struct scmp_arg_cmp thread = SCMP_A1(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
#else
    struct scmp_arg_cmp thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
#endif
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread);
}

/* 0 or a negative errno. */
static int write_program(int fd)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return -ENOMEM;
    int status = allow_threads(filter);
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0] && status == 0; i++)
        status = allow(filter, allowed[i]);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: kernels before 5.11 walk it for each call */
    return status == 0 ? seccomp_export_bpf(filter, fd) : status;
}

static size_t filter_read_program(int fd)
{
    size_t used = 0;
    for (ssize_t n = 1; n > 0 || (n < 0 && errno == EINTR);) {
        n = read(fd, (char *)program.code + used, sizeof program.code - used);
        used += n > 0 ? (size_t)n : 0;
    }
    return used;
}

int filter_prepare(void)
{
    int pair[2], status = 0;
    pid_t child = pipe2(pair, O_CLOEXEC) == 0 ? fork() : -1;
    if (child < 0)
        return -errno;
    if (child == 0)
        _exit(write_program(pair[1]) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    close(pair[1]);
    size_t size = filter_read_program(pair[0]);
    close(pair[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    program.length = status == 0 ? (unsigned short)(size / sizeof program.code[0]) : 0;
    return 0;
}

void filter_install(void)
{
    struct sock_fprog whole = {.len = program.length, .filter = program.code};
    if (program.length == 0)
        log_warning(WHO, "its system calls are not limited: the filter could not be made");
    else if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &whole) != 0)
        log_warning(WHO, "its system calls are not limited: %s", strerror(errno));
}

#else

int filter_prepare(void)
{
    return 0;
}

void filter_install(void)
{
}

#endif
