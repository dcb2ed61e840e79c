#include "slot_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "base/work.h"

char slot_folder[] = "/tmp/test_slot_XXXXXX", image[64], other_image[64];

/* --- running --- */

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

void slot_rig_turn(struct rig *rig)
{
    uv_run(&rig->loop, UV_RUN_ONCE);
}

struct slot *slot_rig_slot(struct rig *rig)
{
    return slots_get(rig->slots, 0);
}

enum slot_state slot_rig_state(struct rig *rig)
{
    return slot_rig_slot(rig)->state;
}

bool slot_rig_settled(struct rig *rig)
{
    return slot_rig_state(rig) == SLOT_EMPTY && !slot_rig_slot(rig)->device.running;
}

static void on_inserted(void *arg, int status, const char *error)
{
    (void)error;
    ((struct rig *)arg)->inserted = -status;
}

static void on_ejected(void *arg, int status, const char *error)
{
    (void)error;
    ((struct rig *)arg)->ejected = -status;
}

void slot_rig_insert(struct rig *rig, const char *path)
{
    struct slot_insert_options options = {.verify = -1, .writable = -1};
    rig->inserted = -1;
    slot_insert(slot_rig_slot(rig), path, &options, on_inserted, rig);
}

void slot_rig_eject(struct rig *rig)
{
    rig->ejected = -1;
    slot_eject(slot_rig_slot(rig), on_ejected, rig);
}

void slot_rig_bring_ready(struct rig *rig)
{
    until(rig, slot_rig_settled(rig));
    slot_rig_insert(rig, image);
    until(rig, slot_rig_state(rig) == SLOT_READY && rig->inserted == 0);
}

void slot_rig_set(struct rig *rig, const char *assignment)
{
    char error[CONFIG_ERROR_MAX];
    if (config_set(&rig->config, assignment, error) != 0)
        fail_msg("%s", error);
}

void slot_rig_start(struct rig *rig, unsigned slots)
{
    char error[CONFIG_ERROR_MAX], text[128];
    memset(rig, 0, sizeof *rig);
    rig->inserted = rig->ejected = -1;
    uv_loop_init(&rig->loop);
    defer_init(&rig->loop);
    uv_timer_init(&rig->loop, &rig->timer);
    uv_timer_start(&rig->timer, on_wake, 1, 1);
    assert_int_equal(config_parse(&rig->config, "test", "[slot s0]\nattach = usb\n", error), 0);
    for (unsigned i = 1; i < slots; i++) {
        snprintf(text, sizeof text, "slot.s%u.attach=usb", i);
        slot_rig_set(rig, text);
    }
    snprintf(text, sizeof text, "daemon.runtime-dir=%s", slot_folder);
    slot_rig_set(rig, text);
    slot_rig_set(rig, "daemon.profile-directory=");
    slot_rig_set(rig, "daemon.step-timeout=1s");
    slot_rig_set(rig, "daemon.cache-slot-minimum=0");
}

void slot_rig_run(struct rig *rig)
{
    char error[CONFIG_ERROR_MAX];
    rig->slots = slots_new(&rig->loop, &rig->config, &fake_kernel, error);
    if (!rig->slots)
        fail_msg("%s", error);
}

static void on_closed(void *arg)
{
    ((struct rig *)arg)->closed = true;
}

void slot_rig_begin_shutdown(struct rig *rig)
{
    slots_close(rig->slots, on_closed, rig);
}

static void on_left_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        fail_msg("a handle of type %s was left", uv_handle_type_name(handle->type));
}

void slot_rig_finish(struct rig *rig)
{
    until(rig, rig->closed);
    uv_close((uv_handle_t *)&rig->timer, NULL);
    defer_close(&rig->loop);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    uv_walk(&rig->loop, on_left_handle, NULL);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    assert_string_equal(fake_kernel_left(), "");
    config_free(&rig->config);
}

void slot_rig_stop(struct rig *rig)
{
    slot_rig_begin_shutdown(rig);
    slot_rig_finish(rig);
}

/* --- the state file --- */

void slot_rig_write_state(const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/state.json", slot_folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

void slot_rig_write_media(const char *path, unsigned size)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"version\": 1, \"slots\": [{\"slot\": \"s0\", \"device\": 0, \"url\": \"%s\", "
             "\"validator\": \"\", \"verify\": -1, \"writable\": -1, \"size\": %u}]}",
             path, size);
    slot_rig_write_state(text);
}

char *slot_rig_read_state(void)
{
    static char text[4096];
    char path[96];
    snprintf(path, sizeof path, "%s/state.json", slot_folder);
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[n] = '\0';
    return text;
}

/* --- the group --- */

static char *make_file(char *path, const char *name)
{
    snprintf(path, 64, "%s/%s", slot_folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), IMAGE_SIZE), 0);
    fclose(file);
    return path;
}

int slot_rig_set_up(void **unused)
{
    (void)unused;
    umask(077);
    work_pool_size(CONFIG_SLOTS_MAX + 4);
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
    if (!mkdtemp(slot_folder))
        return -1;
    make_file(image, "image");
    make_file(other_image, "other");
    return 0;
}

int slot_rig_tear_down(void **unused)
{
    (void)unused;
    char path[96];
    snprintf(path, sizeof path, "%s/state.json", slot_folder);
    unlink(path);
    unlink(image);
    unlink(other_image);
    return rmdir(slot_folder);
}
