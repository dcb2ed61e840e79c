/* A complete image read piece by piece: see store/store.h. Beside what changes the directory, which only unlinks it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store/store_internal.h"

static int reading_open(struct store_reading *reading, struct stat *st)
{
    int fd = openat(reading->store->folder.fd, reading->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ELOOP ? -ENOENT : -errno; /* a link is no image */
    int status = fstat(fd, st) != 0 ? -errno : !S_ISREG(st->st_mode) ? -ENOENT : 0;
    if (status == 0)
        return fd;
    close(fd);
    return status;
}

static uint64_t version_of(const struct stat *st)
{
    uint64_t version = (uint64_t)st->st_ino ^ ((uint64_t)st->st_mtim.tv_sec << 20) ^ (uint64_t)st->st_mtim.tv_nsec;
    return version ? version : 1;
}

/* An image in the place of the one that was begun with is another. */
static bool is_another(struct store_reading *reading, const struct stat *st)
{
    if (reading->version)
        return version_of(st) != reading->version || (uint64_t)st->st_size != reading->size;
    reading->version = version_of(st);
    reading->size = (uint64_t)st->st_size;
    return false;
}

static int read_whole(int fd, struct bytes *bytes, uint64_t offset)
{
    for (uint32_t got = 0; got < bytes->length;) {
        ssize_t n = pread(fd, bytes->data + got, bytes->length - got, (off_t)(offset + got));
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        got += (uint32_t)n;
    }
    return 0;
}

static void on_reading_run(struct work *work)
{
    struct store_reading *reading = container_of(work, struct store_reading, work);
    struct stat st;
    int fd = reading_open(reading, &st);
    reading->status = fd < 0 ? fd : is_another(reading, &st) ? -ESTALE : 0;
    if (reading->status == 0 && reading->bytes)
        reading->status = read_whole(fd, reading->bytes, reading->offset);
    if (fd >= 0)
        close(fd);
}

static void on_reading_done(struct work *work)
{
    struct store_reading *reading = container_of(work, struct store_reading, work);
    struct store *store = reading->store;
    slices_init(&reading->data);
    if (reading->status == 0 && reading->bytes)
        slices_add(&reading->data, reading->bytes, 0, reading->bytes->length);
    bytes_unref(reading->bytes);
    reading->bytes = NULL;
    reading->done(reading);
    store_call_done(store);
}

void store_read(struct store *store, struct store_reading *reading)
{
    reading->store = store;
    reading->bytes = reading->length ? bytes_new(reading->length) : NULL;
    store->pending++;
    work_start(store->loop, &reading->work, on_reading_run, on_reading_done);
}
