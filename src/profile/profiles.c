#include "profile/profiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/save.h"
#include "base/text.h"

#define SUFFIX ".boot-profile"

struct profiles {
    uv_loop_t *loop;
    char *directory;
    unsigned jobs;     /* loads and keeps under way */
    struct link keeps; /* struct profile_keep, of different images */
    struct defer closed_defer;
    void (*closed)(void *arg); /* NULL: it stays open */
    void *closed_arg;
};

/* A profile that is being kept: room is made, then it is written. */
struct profile_keep {
    struct profiles *profiles;
    struct link link; /* in profiles->keeps */
    struct work work;
    struct save save;
    char *text;
    char *directory; /* the thread's own */
    int status;      /* of making it */
};

/* --- life --- */

static void on_profiles_closed(struct defer *defer)
{
    struct profiles *profiles = container_of(defer, struct profiles, closed_defer);
    profiles->closed(profiles->closed_arg);
    mem_free(profiles->directory);
    mem_free(profiles);
}

static void profiles_job_ended(struct profiles *profiles)
{
    if (--profiles->jobs == 0 && profiles->closed)
        defer_schedule(profiles->loop, &profiles->closed_defer);
}

struct profiles *profiles_new(uv_loop_t *loop)
{
    struct profiles *profiles = mem_alloc(sizeof *profiles);
    profiles->loop = loop;
    list_init(&profiles->keeps);
    defer_setup(&profiles->closed_defer, on_profiles_closed);
    return profiles;
}

void profiles_use(struct profiles *profiles, const char *directory)
{
    mem_free(profiles->directory);
    profiles->directory = mem_strdup_nonempty(directory);
}

void profiles_close(struct profiles *profiles, void (*closed)(void *arg), void *arg)
{
    profiles->closed = closed;
    profiles->closed_arg = arg;
    if (profiles->jobs == 0)
        defer_schedule(profiles->loop, &profiles->closed_defer);
}

/* By the image's name where nothing else tells its versions apart. */
static char *profile_path(const struct profiles *profiles, uint64_t size, const struct profile_image *image)
{
    const char *what = *image->validator ? image->validator : image->name;
    uint64_t hash = text_hash(text_hash(TEXT_HASH_START, &size, sizeof size), what, strlen(what));
    size_t length = strlen(profiles->directory) + sizeof SUFFIX + 20;
    char *path = mem_alloc(length);
    snprintf(path, length, "%s/%016" PRIx64 SUFFIX, profiles->directory, hash);
    return path;
}

/* --- a load --- */

/* At most `size` bytes; how many, or a negative errno. The file counts as used. */
static ssize_t read_profile(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, size);
    n = n < 0 ? -errno : n;
    futimens(fd, NULL);
    close(fd);
    return n;
}

static bool profile_is_of(const struct profile_load *load, const struct profile_image *image)
{
    return load->profile.size == load->size && strcmp(image->validator, load->image.validator) == 0 &&
           (*image->validator || strcmp(image->name, load->image.name) == 0);
}

static void on_load_run(struct work *work)
{
    struct profile_load *load = container_of(work, struct profile_load, work);
    struct profile_image image;
    const char *error;
    char *text = mem_alloc(PROFILE_JSON_MAX + 1);
    ssize_t length = read_profile(load->path, text, PROFILE_JSON_MAX + 1);
    load->found = length > 0 && profile_from_json(text, (size_t)length, &load->profile, &image, &error) &&
                  profile_is_of(load, &image);
    mem_free(text);
}

static void on_profiles_load_done(struct work *work)
{
    struct profile_load *load = container_of(work, struct profile_load, work);
    struct profiles *profiles = load->profiles;
    mem_free(load->path);
    load->done(load);
    profiles_job_ended(profiles);
}

static void on_load_nowhere(struct work *work)
{
    (void)work;
}

void profiles_load(struct profiles *profiles, struct profile_load *load)
{
    bool kept = profiles->directory;
    load->profiles = profiles;
    load->found = false;
    load->path = kept ? profile_path(profiles, load->size, &load->image) : NULL;
    profiles->jobs++;
    work_start(profiles->loop, &load->work, kept ? on_load_run : on_load_nowhere, on_profiles_load_done);
}

/* --- a keep --- */

static bool is_profile_name(const char *name)
{
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    return length == 16 + suffix && strcmp(name + 16, SUFFIX) == 0;
}

struct oldest {
    unsigned count;
    char name[64];
    struct timespec used;
};

static bool was_used_before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static void find_oldest(DIR *folder, struct oldest *oldest)
{
    struct dirent *entry;
    struct stat st;
    memset(oldest, 0, sizeof *oldest);
    while ((entry = readdir(folder)) != NULL) {
        if (!is_profile_name(entry->d_name) || fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (oldest->count++ == 0 || was_used_before(&st.st_mtim, &oldest->used)) {
            snprintf(oldest->name, sizeof oldest->name, "%s", entry->d_name);
            oldest->used = st.st_mtim;
        }
    }
}

/* Room for one more. */
static void profiles_make_room(const char *directory)
{
    struct oldest oldest;
    DIR *folder = opendir(directory);
    if (!folder)
        return;
    for (;;) {
        rewinddir(folder);
        find_oldest(folder, &oldest);
        if (oldest.count < PROFILES_MAX || unlinkat(dirfd(folder), oldest.name, 0) != 0)
            break;
    }
    closedir(folder);
}

static void on_keep_run(struct work *work)
{
    struct profile_keep *keep = container_of(work, struct profile_keep, work);
    if (mkdir(keep->directory, 0700) == 0)
        return;
    if (errno == EEXIST)
        profiles_make_room(keep->directory);
    else
        keep->status = -errno;
}

static void on_profile_written(void *arg)
{
    struct profile_keep *keep = arg;
    struct profiles *profiles = keep->profiles;
    list_remove(&keep->link);
    save_free(&keep->save);
    mem_free(keep->directory);
    mem_free(keep);
    profiles_job_ended(profiles);
}

static void on_keep_ready(struct work *work)
{
    struct profile_keep *keep = container_of(work, struct profile_keep, work);
    if (keep->status == 0) {
        save_text(&keep->save, keep->text);
    } else {
        log_info("nbd-proxy", "profile-directory %s: %s: no boot profile is kept", keep->directory,
                 strerror(-keep->status));
        mem_free(keep->text);
    }
    save_flush(&keep->save, on_profile_written, keep);
}

static bool is_being_kept(const struct profiles *profiles, const char *path)
{
    list_for_each (l, &profiles->keeps)
        if (strcmp(container_of(l, struct profile_keep, link)->save.path, path) == 0)
            return true;
    return false;
}

static void keep_begin(struct profiles *profiles, char *path, char *text)
{
    struct profile_keep *keep = mem_alloc(sizeof *keep);
    keep->profiles = profiles;
    keep->text = text;
    keep->directory = mem_strdup(profiles->directory);
    save_init(&keep->save, profiles->loop, path, "the next boot from the image is no faster");
    list_append(&profiles->keeps, &keep->link);
    profiles->jobs++;
    work_start(profiles->loop, &keep->work, on_keep_run, on_keep_ready);
}

void profiles_keep(struct profiles *profiles, const struct profile *profile, const struct profile_image *image)
{
    char *text = profiles->directory && profiles->jobs < PROFILES_JOBS_MAX ? profile_to_json(profile, image) : NULL;
    if (!text)
        return;
    char *path = profile_path(profiles, profile->size, image);
    if (!is_being_kept(profiles, path)) {
        keep_begin(profiles, path, text);
        return;
    }
    mem_free(text);
    mem_free(path);
}
