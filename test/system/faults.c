/* Loaded before the C library (LD_PRELOAD): one call fails, once. A place is a call and the address that it is made from.
 * FAULT_AT=n lets the n-th place that the program comes to fail, FAULT_CALL=name the first of that call, and with FAULT_FROM
 * that which is made from there, "module+offset"; the first time that it is come to, or the FAULT_USE-th. What failed is said
 * on stderr as "FAULT name module+offset", how many places there were at the end as "PLACES n"; with FAULT_LIST=file they are
 * written there, a line each: call, module+offset, how often it was used. With FAULT_CRASH a signal that ends it says
 * "CRASH module+offset ..." first: where it was, and who called. glibc only, no sanitizers. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PLACES_MAX 4096

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static struct {
    void *from;
    const char *call;
    long used;
} places[PLACES_MAX];
static atomic_int count;
static long at = -2, use;
static const char *wanted, *wanted_from;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What is loaded at the start: the loader can't be asked inside a call, it might be making it. */
static struct {
    uintptr_t base, end;
    char name[80];
} modules[64];
static int module_count;

static int add_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    uintptr_t end = info->dlpi_addr;
    const char *path = *info->dlpi_name ? info->dlpi_name : program_invocation_name, *slash = strrchr(path, '/');
    (void)size, (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz > end)
            end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
    modules[module_count].base = info->dlpi_addr;
    modules[module_count].end = end;
    snprintf(modules[module_count].name, sizeof modules->name, "%s", slash ? slash + 1 : path);
    return ++module_count == sizeof modules / sizeof *modules;
}

#define NAME_MAX_HERE 128

static void name_of(void *from, char name[NAME_MAX_HERE])
{
    uintptr_t address = (uintptr_t)from;
    for (int i = 0; i < module_count; i++)
        if (address >= modules[i].base && address < modules[i].end) {
            snprintf(name, NAME_MAX_HERE, "%s+%#lx", modules[i].name, (unsigned long)(address - modules[i].base));
            return;
        }
    snprintf(name, NAME_MAX_HERE, "?+%#lx", (unsigned long)address);
}

static void on_crash(int number)
{
    void *stack[24];
    char name[NAME_MAX_HERE];
    int depth = backtrace(stack, sizeof stack / sizeof *stack);
    (void)!syscall(SYS_write, 2, "CRASH", 5);
    for (int i = 1; i < depth; i++) {
        name_of((char *)stack[i] - 1, name); /* in the call, not behind it */
        (void)!syscall(SYS_write, 2, " ", 1);
        (void)!syscall(SYS_write, 2, name, strlen(name));
    }
    (void)!syscall(SYS_write, 2, "\n", 1);
    raise(number); /* the default is back */
}

static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

static int is_crash(int number)
{
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (crashes[i] == number)
            return getenv("FAULT_CRASH") != NULL;
    return 0;
}

/* cmocka would take some of them, and not say where it was. */
sighandler_t signal(int number, sighandler_t handler)
{
    static sighandler_t (*real)(int, sighandler_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "signal");
    return is_crash(number) ? SIG_DFL : real(number, handler);
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    void *stack[1];
    unsetenv("LD_PRELOAD"); /* what it starts is another program */
    dl_iterate_phdr(add_module, NULL);
    if (getenv("FAULT_CRASH"))
        backtrace(stack, 1); /* loads what it needs */
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (is_crash(crashes[i]))
            sigaction(crashes[i], &action, NULL);
}

static void say(const char *call, void *from)
{
    Dl_info info = {0};
    char text[300], name[NAME_MAX_HERE];
    dladdr(from, &info);
    name_of(from, name);
    int n = snprintf(text, sizeof text, "FAULT %s %s %s\n", call, name, info.dli_sname ? info.dli_sname : "");
    (void)!syscall(SYS_write, 2, text, n);
}

static int place_of(const char *call, void *from)
{
    int i = 0;
    while (i < count && (places[i].from != from || places[i].call != call))
        i++;
    if (i == count && count < PLACES_MAX) {
        places[i].from = from;
        places[i].call = call;
        count++;
    }
    return i;
}

static void settings(void)
{
    const char *given = getenv("FAULT_AT"), *nth = getenv("FAULT_USE");
    wanted = getenv("FAULT_CALL");
    wanted_from = getenv("FAULT_FROM");
    at = given ? atol(given) : -1;
    use = nth ? atol(nth) : 1;
}

static int is_wanted(const char *call, void *from)
{
    char name[NAME_MAX_HERE];
    if (!wanted || strcmp(call, wanted) != 0)
        return 0;
    if (!wanted_from)
        return 1;
    name_of(from, name);
    return strcmp(name, wanted_from) == 0;
}

static int fails(const char *call, void *from)
{
    pthread_mutex_lock(&lock);
    if (at == -2)
        settings();
    int i = place_of(call, from);
    if (at < 0 && is_wanted(call, from))
        at = i;
    int now = ++places[i].used == use && i == at;
    pthread_mutex_unlock(&lock);
    if (now)
        say(call, from);
    return now;
}

#define FAILS(call) fails(call, __builtin_return_address(0))

/* Where data goes or comes from: what keeps threads and signals together (eventfd, pipes) does not fail. */
static int is_data(int fd)
{
    struct stat status;
    return syscall(SYS_fstat, fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode));
}

/* The error that the call may end with, the result that says so, when, and the real one. */
#define FAULT_IF(condition, type, name, failed, error, parameters, arguments) \
    type name parameters                                                      \
    {                                                                         \
        static type(*real) parameters;                                        \
        if (!real)                                                            \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                        \
        if ((condition) && FAILS(#name)) {                                    \
            errno = error;                                                    \
            return failed;                                                    \
        }                                                                     \
        return real arguments;                                                \
    }

#define FAULT(...) FAULT_IF(1, __VA_ARGS__)
#define FAULT_DATA(...) FAULT_IF(is_data(fd), __VA_ARGS__)

void *malloc(size_t size)
{
    if (!FAILS("malloc"))
        return __libc_malloc(size);
    errno = ENOMEM;
    return NULL;
}

void *calloc(size_t n, size_t size)
{
    if (!FAILS("calloc"))
        return __libc_calloc(n, size);
    errno = ENOMEM;
    return NULL;
}

void *realloc(void *p, size_t size)
{
    if (size == 0 || !FAILS("realloc"))
        return __libc_realloc(p, size);
    errno = ENOMEM;
    return NULL;
}

FAULT(int, pthread_create, EAGAIN, EAGAIN,
      (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg), (thread, attributes, run, arg))
FAULT(int, socket, -1, EMFILE, (int domain, int type, int protocol), (domain, type, protocol))
FAULT(int, socketpair, -1, EMFILE, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
FAULT(int, accept4, -1, EMFILE, (int fd, struct sockaddr *address, socklen_t *length, int flags), (fd, address, length, flags))
FAULT(int, accept, -1, EMFILE, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
FAULT(int, bind, -1, EADDRINUSE, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))
FAULT(int, listen, -1, EADDRINUSE, (int fd, int backlog), (fd, backlog))
FAULT(int, connect, -1, ENETUNREACH, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))
FAULT(int, pipe2, -1, EMFILE, (int fds[2], int flags), (fds, flags))
FAULT(int, eventfd, -1, EMFILE, (unsigned value, int flags), (value, flags))
FAULT(int, epoll_create1, -1, EMFILE, (int flags), (flags))
FAULT(int, inotify_init1, -1, EMFILE, (int flags), (flags))
FAULT(int, getaddrinfo, EAI_MEMORY, ENOMEM,
      (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result),
      (node, service, hints, result))
FAULT_DATA(ssize_t, read, -1, EIO, (int fd, void *to, size_t length), (fd, to, length))
FAULT_DATA(ssize_t, write, -1, ENOSPC, (int fd, const void *from, size_t length), (fd, from, length))
FAULT_DATA(ssize_t, writev, -1, EIO, (int fd, const struct iovec *v, int n), (fd, v, n))
FAULT_DATA(ssize_t, pread, -1, EIO, (int fd, void *to, size_t length, off_t offset), (fd, to, length, offset))
FAULT_DATA(ssize_t, pread64, -1, EIO, (int fd, void *to, size_t length, off64_t offset), (fd, to, length, offset))
FAULT_DATA(ssize_t, pwrite, -1, ENOSPC, (int fd, const void *from, size_t length, off_t offset), (fd, from, length, offset))
FAULT_DATA(ssize_t, pwrite64, -1, ENOSPC, (int fd, const void *from, size_t length, off64_t offset), (fd, from, length, offset))
FAULT_DATA(ssize_t, send, -1, ECONNRESET, (int fd, const void *from, size_t length, int flags), (fd, from, length, flags))
FAULT_DATA(ssize_t, recv, -1, ECONNRESET, (int fd, void *to, size_t length, int flags), (fd, to, length, flags))
FAULT_DATA(ssize_t, sendmsg, -1, ECONNRESET, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
FAULT_DATA(ssize_t, recvmsg, -1, ECONNRESET, (int fd, struct msghdr *message, int flags), (fd, message, flags))
FAULT(int, fsync, -1, EIO, (int fd), (fd))
FAULT(int, fdatasync, -1, EIO, (int fd), (fd))
FAULT(int, ftruncate, -1, ENOSPC, (int fd, off_t length), (fd, length))
FAULT(int, ftruncate64, -1, ENOSPC, (int fd, off64_t length), (fd, length))
FAULT(int, rename, -1, EIO, (const char *from, const char *to), (from, to))
FAULT(int, unlink, -1, EROFS, (const char *path), (path))
FAULT(int, unlinkat, -1, EROFS, (int fd, const char *path, int flags), (fd, path, flags))
FAULT(int, mkdir, -1, ENOSPC, (const char *path, mode_t mode), (path, mode))
FAULT(int, chmod, -1, EROFS, (const char *path, mode_t mode), (path, mode))
FAULT(int, fchmod, -1, EROFS, (int fd, mode_t mode), (fd, mode))
FAULT(int, fstat, -1, EIO, (int fd, struct stat *to), (fd, to))
FAULT(int, fstat64, -1, EIO, (int fd, struct stat64 *to), (fd, to))
FAULT(int, stat, -1, EIO, (const char *path, struct stat *to), (path, to))
FAULT(int, lstat, -1, EIO, (const char *path, struct stat *to), (path, to))
FAULT(ssize_t, getrandom, -1, ENOSYS, (void *to, size_t length, unsigned flags), (to, length, flags))
FAULT(int, getsockname, -1, ENOBUFS, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
FAULT(int, getpeername, -1, ENOTCONN, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
FAULT(int, getsockopt, -1, ENOBUFS, (int fd, int level, int name, void *to, socklen_t *length), (fd, level, name, to, length))
FAULT(int, setsockopt, -1, ENOBUFS, (int fd, int level, int name, const void *from, socklen_t length),
      (fd, level, name, from, length))
FAULT(int, flock, -1, ENOLCK, (int fd, int operation), (fd, operation))

/* The mode is read when there is one, O_CREAT or O_TMPFILE. */
#define FAULT_OPEN(name, first, pass)                                         \
    int name(first const char *path, int flags, ...)                          \
    {                                                                         \
        static int (*real)(first const char *, int, ...);                     \
        va_list list;                                                         \
        va_start(list, flags);                                                \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                         \
        if (!real)                                                            \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                        \
        if (FAILS(#name)) {                                                   \
            errno = EMFILE;                                                   \
            return -1;                                                        \
        }                                                                     \
        return real(pass path, flags, mode);                                  \
    }
#define NONE
#define DIRECTORY int directory,
#define PASS directory,
FAULT_OPEN(open, NONE, NONE)
FAULT_OPEN(open64, NONE, NONE)
FAULT_OPEN(openat, DIRECTORY, PASS)
FAULT_OPEN(openat64, DIRECTORY, PASS)

FAULT(FILE *, fopen, NULL, EMFILE, (const char *path, const char *mode), (path, mode))
FAULT(FILE *, fopen64, NULL, EMFILE, (const char *path, const char *mode), (path, mode))
FAULT(pid_t, fork, -1, EAGAIN, (void), ())

static void list(const char *path)
{
    char text[NAME_MAX_HERE + 64], name[NAME_MAX_HERE];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < count; i++) {
        name_of(places[i].from, name);
        int n = snprintf(text, sizeof text, "%s %s %ld\n", places[i].call, name, places[i].used);
        (void)!syscall(SYS_write, fd, text, n);
    }
    syscall(SYS_close, fd);
}

__attribute__((destructor)) static void end(void)
{
    char text[64];
    int n = snprintf(text, sizeof text, "PLACES %d\n", count);
    (void)!syscall(SYS_write, 2, text, n);
    if (getenv("FAULT_LIST"))
        list(getenv("FAULT_LIST"));
}
