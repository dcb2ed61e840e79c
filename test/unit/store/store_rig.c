#include "store_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/text.h"

#define POOL       4 /* threads, by default */
#define PATIENCE_S 60

/* --- life --- */

void store_rig_begin(struct store_rig *rig)
{
    memset(rig, 0, sizeof *rig);
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL); /* else a thread does, and keeps something of it */
    /* Memory, when there is such a place: thousands of syncs take long on a disk. */
    strcpy(rig->folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/np-store-XXXXXX" : "/tmp/np-store-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->path, sizeof rig->path, "%s/uploads", rig->folder);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    defer_init(&rig->loop);
    rig->options = (struct store_options){.directory = rig->path, .max_bytes = 1ull << 30};
    store_rig_open(rig);
}

void store_rig_open(struct store_rig *rig)
{
    char error[STORE_ERROR_MAX] = "";
    rig->store = store_new(&rig->loop, &rig->options, error);
    if (!rig->store)
        fail_msg("%s", error);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

void store_rig_close(struct store_rig *rig)
{
    bool closed = false;
    if (!rig->store)
        return;
    store_close(rig->store, on_closed, &closed);
    assert_false(closed);
    store_rig_until(rig, &closed);
    rig->store = NULL;
}

void store_rig_end(struct store_rig *rig)
{
    char command[128];
    store_rig_close(rig);
    assert_int_equal(uv_run(&rig->loop, UV_RUN_DEFAULT), 0);
    defer_close(&rig->loop);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    snprintf(command, sizeof command, "rm -rf %s", rig->folder);
    assert_int_equal(system(command), 0);
}

void store_rig_reopen(struct store_rig *rig)
{
    store_rig_close(rig);
    store_rig_open(rig);
}

int store_rig_setup(void **state)
{
    store_rig_begin(*state);
    return 0;
}

int store_rig_teardown(void **state)
{
    store_rig_end(*state);
    return 0;
}

void store_rig_until(struct store_rig *rig, const bool *flag)
{
    uint64_t start = uv_hrtime();
    while (!*flag) {
        int alive = uv_run(&rig->loop, UV_RUN_ONCE);
        if (!*flag && (!alive || uv_hrtime() - start > PATIENCE_S * 1000000000ull))
            fail_msg("%s", alive ? "it takes too long" : "nothing is left to run");
    }
}

void store_rig_turn(struct store_rig *rig, unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        uv_run(&rig->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

/* --- bytes --- */

const uint8_t *store_rig_data(void)
{
    static uint8_t *data;
    if (data)
        return data;
    static uint8_t bytes[STORE_RIG_DATA];
    uint64_t state = 1;
    for (size_t i = 0; i < sizeof bytes; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(state >> 56);
    }
    return data = bytes;
}

void store_rig_digest(size_t length, char sha256[STORE_SHA256])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(store_rig_data(), length, digest);
    for (unsigned i = 0; i < sizeof digest; i++)
        sprintf(sha256 + 2 * i, "%02x", digest[i]);
}

/* --- pieces --- */

static void on_ready(struct store_piece *piece)
{
    struct store_rig_put *put = piece->owner;
    assert_false(put->done);
    while (put->given < put->give) {
        uint64_t left = put->give - put->given, n = left < put->chunk ? left : put->chunk;
        const uint8_t *from = store_rig_data() + piece->first + put->given;
        put->given += n;
        if (!store_write(piece, from, (size_t)n) && put->given < put->give) {
            put->pauses++;
            return;
        }
    }
    if (put->give < piece->length)
        store_cut(piece);
}

static void on_done(struct store_piece *piece)
{
    struct store_rig_put *put = piece->owner;
    assert_false(put->done);
    put->done = true;
}

void store_rig_start(struct store_rig *rig, struct store_rig_put *put, const char *name, uint64_t first,
                     uint64_t length, uint64_t size, uint64_t give, size_t chunk)
{
    *put = (struct store_rig_put){.piece = {.name = name,
                                            .first = first,
                                            .length = length,
                                            .size = size,
                                            .ready = on_ready,
                                            .done = on_done,
                                            .owner = put},
                                  .give = give,
                                  .chunk = chunk};
    store_put(rig->store, &put->piece);
    assert_false(put->done);
}

int store_rig_put(struct store_rig *rig, struct store_rig_put *put, const char *name, uint64_t first, uint64_t length,
                  uint64_t size, uint64_t give)
{
    store_rig_start(rig, put, name, first, length, size, give, 16384);
    store_rig_until(rig, &put->done);
    return put->piece.status;
}

/* --- what is there --- */

struct call {
    struct store_list list;
    struct store_removal removal;
    bool done;
};

static void on_removed(struct store_removal *removal)
{
    ((struct call *)removal->owner)->done = true;
}

int store_rig_remove(struct store_rig *rig, const char *name)
{
    struct call call = {.removal = {.name = name, .done = on_removed}};
    call.removal.owner = &call;
    store_remove(rig->store, &call.removal);
    assert_false(call.done);
    store_rig_until(rig, &call.done);
    return call.removal.status;
}

static void on_listed(struct store_list *list)
{
    struct call *call = list->owner;
    size_t size = list->count * sizeof *list->entries;
    call->list.found = malloc(size + 1);
    if (size > 0)
        memcpy(call->list.found, list->entries, size);
    call->done = true;
}

void store_rig_list(struct store_rig *rig, struct store_list *list)
{
    struct call call = {.done = false};
    *list = (struct store_list){.done = on_listed, .owner = &call};
    store_list(rig->store, list);
    assert_false(call.done);
    store_rig_until(rig, &call.done);
    list->entries = list->found = call.list.found;
}

bool store_rig_find(struct store_rig *rig, const char *name, struct store_entry *entry)
{
    struct store_list list;
    bool found = false;
    store_rig_list(rig, &list);
    assert_int_equal(list.status, 0);
    for (unsigned i = 0; i < list.count; i++)
        if (strcmp(list.found[i].name, name) == 0) {
            assert_false(found);
            *entry = list.found[i];
            found = true;
        }
    free(list.found);
    return found;
}

/* --- files --- */

unsigned store_rig_files(const struct store_rig *rig)
{
    DIR *dir = opendir(rig->path);
    unsigned count = 0;
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

void store_rig_part(const struct store_rig *rig, const char *name, uint64_t size, char path[400])
{
    char prefix[STORE_FILE_MAX];
    DIR *dir = opendir(rig->path);
    assert_non_null(dir);
    snprintf(prefix, sizeof prefix, ".%s.%llu-", name, (unsigned long long)size);
    path[0] = 0;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
            snprintf(path, 400, "%s/%s", rig->path, e->d_name);
    closedir(dir);
    assert_true(path[0]);
}

void store_rig_check_image(const struct store_rig *rig, const char *name, size_t size)
{
    char path[400];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", rig->path, name);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(st.st_size, size);
    uint8_t *bytes = malloc(size + 1);
    assert_int_equal(read(fd, bytes, size + 1), size);
    assert_memory_equal(bytes, store_rig_data(), size);
    free(bytes);
    close(fd);
}

void store_rig_write_file(const struct store_rig *rig, const char *file, const void *data, size_t size)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", rig->path, file);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

/* --- a slow disk --- */

static uv_work_t holds[POOL];
static sem_t held, go_on;
static unsigned holding;

static void hold(uv_work_t *work)
{
    (void)work;
    sem_post(&held);
    sem_wait(&go_on);
}

static void on_let_go(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
    holding--;
}

void store_rig_hold_threads(struct store_rig *rig)
{
    sem_init(&held, 0, 0);
    sem_init(&go_on, 0, 0);
    for (holding = 0; holding < POOL; holding++)
        uv_queue_work(&rig->loop, &holds[holding], hold, on_let_go);
    for (int i = 0; i < POOL; i++)
        sem_wait(&held);
}

void store_rig_release_threads(struct store_rig *rig)
{
    for (int i = 0; i < POOL; i++)
        sem_post(&go_on);
    while (holding > 0)
        uv_run(&rig->loop, UV_RUN_ONCE);
}
