/* An empty stick made in the store: see store/store.h. A job on the directory. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/text.h"
#include "store/stick.h"
#include "store/store_internal.h"

/* A partition table's sectors and a file system's, and nothing between them: what is not written takes no room. */
static int write_stick(int fd, const struct stick *stick)
{
    if (ftruncate(fd, (off_t)stick->size) != 0)
        return -errno;
    for (unsigned i = 0; i < stick->count; i++) {
        const struct stick_sector *sector = &stick->sectors[i];
        ssize_t n = pwrite(fd, sector->data, STICK_SECTOR, (off_t)sector->at * STICK_SECTOR);
        if (n != STICK_SECTOR)
            return n < 0 ? -errno : -ENOSPC;
    }
    return fsync(fd) != 0 ? -errno : 0;
}

static int make_file(const struct folder *folder, const char *name, const struct stick *stick)
{
    char part[STORE_FILE_MAX];
    store_part_file(part, name, stick->size, folder->boot);
    int fd = openat(folder->fd, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int status = write_stick(fd, stick);
    close(fd);
    if (status == 0)
        status = folder_rename(folder, part, name);
    if (status != 0)
        unlinkat(folder->fd, part, 0);
    else
        folder_sync(folder);
    return status;
}

static int room_problem(const struct folder *folder, const struct store_making *making)
{
    struct folder_listing listing;
    int status = folder_scan(folder, false, &listing);
    if (status != 0)
        return status;
    status = folder_find(&listing, making->name)           ? -EEXIST
             : making->size > folder->max_bytes            ? -EFBIG
             : making->size > listing.free                 ? -ENOSPC
             : listing.count >= folder->max_count          ? -ENOSPC
                                                           : 0;
    mem_free(listing.entries);
    return status;
}

static void on_making_run(struct store_job *job)
{
    struct store_making *making = container_of(job, struct store_making, job);
    struct stick *stick = mem_alloc(sizeof *stick);
    uint32_t id = 0;
    if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
        id = 1;
    making->status = stick_plan(stick, making->size, making->label, id) ? room_problem(&job->store->folder, making) : -EINVAL;
    if (making->status == 0)
        making->status = make_file(&job->store->folder, making->name, stick);
    mem_free(stick);
}

static void making_done(struct store_making *making)
{
    struct store *store = making->job.store;
    store->queued--;
    making->done(making);
    store_call_done(store);
}

static void on_making_done(struct store_job *job)
{
    making_done(container_of(job, struct store_making, job));
}

static void on_making_answer(struct defer *defer)
{
    making_done(container_of(defer, struct store_making, answer));
}

void store_make(struct store *store, struct store_making *making)
{
    making->status = store_call_begin(store);
    making->job.store = store;
    defer_setup(&making->answer, on_making_answer);
    if (making->status != 0)
        defer_schedule(store->loop, &making->answer);
    else
        store_job_add(store, &making->job, on_making_run, on_making_done);
}
