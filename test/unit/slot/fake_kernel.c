#include "fake_kernel.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nbd/wire.h"

struct gadget {
    char name[KERNEL_NAME_MAX];
    bool medium;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum fake_call fail, hold;
    bool waiting, read;
    unsigned reads;
    char backend[FAKE_DEVICES][KERNEL_NAME_MAX];
    int fds[FAKE_DEVICES][KERNEL_CONNECTIONS_MAX]; /* duplicates, as the kernel holds its own */
    unsigned fd_count[FAKE_DEVICES];
    struct gadget gadgets[FAKE_DEVICES];
} k = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* --- what the test says --- */

static void drop(unsigned index)
{
    for (unsigned i = 0; i < k.fd_count[index]; i++)
        close(k.fds[index][i]);
    k.fd_count[index] = 0;
    *k.backend[index] = '\0';
}

void fake_kernel_reset(void)
{
    pthread_mutex_lock(&k.lock);
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        drop(i);
        k.gadgets[i] = (struct gadget){0};
    }
    k.fail = k.hold = FAKE_NONE;
    k.waiting = k.read = false;
    k.reads = 0;
    pthread_mutex_unlock(&k.lock);
}

void fake_kernel_fail(enum fake_call call)
{
    pthread_mutex_lock(&k.lock);
    k.fail = call;
    pthread_mutex_unlock(&k.lock);
}

void fake_kernel_hold(enum fake_call call)
{
    pthread_mutex_lock(&k.lock);
    k.hold = call;
    pthread_mutex_unlock(&k.lock);
}

bool fake_kernel_held(void)
{
    pthread_mutex_lock(&k.lock);
    bool waiting = k.waiting;
    pthread_mutex_unlock(&k.lock);
    return waiting;
}

void fake_kernel_release(void)
{
    pthread_mutex_lock(&k.lock);
    k.hold = FAKE_NONE;
    pthread_cond_broadcast(&k.changed);
    pthread_mutex_unlock(&k.lock);
}

void fake_kernel_read_at_connect(bool on)
{
    k.read = on;
}

bool fake_kernel_connected(unsigned index)
{
    pthread_mutex_lock(&k.lock);
    bool connected = *k.backend[index];
    pthread_mutex_unlock(&k.lock);
    return connected;
}

void fake_kernel_connect_as(unsigned index, const char *backend)
{
    snprintf(k.backend[index], KERNEL_NAME_MAX, "%s", backend);
}

unsigned fake_kernel_reads(void)
{
    return k.reads;
}

static struct gadget *find(const char *name)
{
    for (unsigned i = 0; i < FAKE_DEVICES; i++)
        if (strcmp(k.gadgets[i].name, name) == 0)
            return &k.gadgets[i];
    return NULL;
}

bool fake_kernel_medium(const char *name)
{
    pthread_mutex_lock(&k.lock);
    const struct gadget *gadget = find(name);
    bool medium = gadget && gadget->medium;
    pthread_mutex_unlock(&k.lock);
    return medium;
}

void fake_kernel_host_ejects(const char *name)
{
    pthread_mutex_lock(&k.lock);
    find(name)->medium = false;
    pthread_mutex_unlock(&k.lock);
}

const char *fake_kernel_left(void)
{
    static char text[128];
    *text = '\0';
    pthread_mutex_lock(&k.lock);
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        if (*k.backend[i])
            snprintf(text, sizeof text, "device %s", k.backend[i]);
        if (*k.gadgets[i].name)
            snprintf(text, sizeof text, "gadget %s", k.gadgets[i].name);
    }
    pthread_mutex_unlock(&k.lock);
    return text;
}

/* --- the calls --- */

/* Locks; waits or fails as the test wants. */
static int enter(enum fake_call call, char error[KERNEL_ERROR_MAX])
{
    pthread_mutex_lock(&k.lock);
    while (k.hold == call) {
        k.waiting = true;
        pthread_cond_wait(&k.changed, &k.lock);
    }
    k.waiting = false;
    if (k.fail != call)
        return 0;
    snprintf(error, KERNEL_ERROR_MAX, "the kernel fails");
    return -EIO;
}

static int leave(int status)
{
    pthread_mutex_unlock(&k.lock);
    return status;
}

/* One READ of 512 bytes, as the kernel looks for partitions: blocks until we answer. */
static int read_first(int fd)
{
    uint8_t request[NBD_REQUEST_SIZE] = {0}, reply[16 + 512];
    size_t got = 0;
    nbd_put32(request, 0x25609513);
    nbd_put32(request + 24, 512);
    if (write(fd, request, sizeof request) != (ssize_t)sizeof request)
        return -EIO;
    while (got < sizeof reply) {
        ssize_t n = read(fd, reply + got, sizeof reply - got);
        if (n <= 0)
            return -EIO;
        got += (size_t)n;
        if (got >= 16 && nbd_get32(reply + 4) != 0)
            return -EIO;
    }
    return 0;
}

static int take(const struct kernel_nbd *nbd)
{
    for (unsigned i = 0; i < nbd->count; i++)
        k.fds[nbd->index][i] = dup(nbd->fds[i]);
    k.fd_count[nbd->index] = nbd->count;
    snprintf(k.backend[nbd->index], KERNEL_NAME_MAX, "%s", nbd->backend);
    return 0;
}

static int fake_connect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    int status = enter(FAKE_CONNECT, error);
    if (status == 0 && *k.backend[nbd->index])
        status = -EBUSY;
    if (status == 0)
        status = take(nbd);
    bool reads = k.read && status == 0;
    leave(0);
    if (!reads)
        return status;
    status = read_first(nbd->fds[0]);
    pthread_mutex_lock(&k.lock);
    k.reads += status == 0;
    if (status != 0)
        drop(nbd->index);
    return leave(status);
}

static int fake_reconnect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    int status = enter(FAKE_RECONNECT, error);
    if (status == 0 && strcmp(k.backend[nbd->index], nbd->backend) != 0)
        status = -ENODEV;
    return leave(status == 0 ? take(nbd) : status);
}

static int fake_disconnect(unsigned index, const char *backend, char error[KERNEL_ERROR_MAX])
{
    int status = enter(FAKE_DISCONNECT, error);
    if (status == 0 && strcmp(k.backend[index], backend) == 0)
        drop(index);
    return leave(status);
}

static void make(const char *name)
{
    struct gadget *gadget = find(name);
    if (!gadget)
        gadget = find("");
    *gadget = (struct gadget){0};
    snprintf(gadget->name, sizeof gadget->name, "%s", name);
}

static int fake_prepare(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    int status = enter(FAKE_PREPARE, error);
    if (status == 0)
        make(gadget->name);
    return leave(status);
}

static int fake_insert(const struct kernel_gadget *gadget, const struct kernel_medium *medium, char error[KERNEL_ERROR_MAX])
{
    (void)medium;
    int status = enter(FAKE_INSERT, error);
    if (status == 0 && !find(gadget->name))
        make(gadget->name);
    if (status == 0)
        find(gadget->name)->medium = true;
    return leave(status);
}

static int fake_eject(const struct kernel_gadget *gadget, unsigned patience_ms, char error[KERNEL_ERROR_MAX])
{
    (void)patience_ms;
    int status = enter(FAKE_EJECT, error);
    if (status == 0 && find(gadget->name))
        find(gadget->name)->medium = false;
    return leave(status);
}

static int fake_remove(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    int status = enter(FAKE_REMOVE, error);
    struct gadget *found = find(gadget->name);
    if (status == 0 && found)
        *found = (struct gadget){0};
    return leave(status);
}

static bool fake_is_empty(const struct kernel_gadget *gadget)
{
    return !fake_kernel_medium(gadget->name);
}

static int fake_check(char error[KERNEL_ERROR_MAX])
{
    *error = '\0';
    return 0;
}

const struct kernel_ops fake_kernel = {
    .nbd_connect = fake_connect,
    .nbd_reconnect = fake_reconnect,
    .nbd_disconnect = fake_disconnect,
    .gadget_prepare = fake_prepare,
    .gadget_insert = fake_insert,
    .gadget_eject = fake_eject,
    .gadget_remove = fake_remove,
    .gadget_is_empty = fake_is_empty,
    .check_nbd = fake_check,
    .check_gadget = fake_check,
};
