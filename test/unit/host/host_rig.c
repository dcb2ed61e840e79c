#include "host_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/text.h"

#define PATIENCE_MS 20000
#define FILE_MAX    4096

int rig_setup(void **state)
{
    struct rig *rig = mem_alloc(sizeof *rig);
    snprintf(rig->folder, sizeof rig->folder, "/tmp/test_host_XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->hook, sizeof rig->hook, "%s/hook", rig->folder);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    defer_init(&rig->loop);
    *state = rig;
    return 0;
}

static void on_closed(void *arg)
{
    struct rig *rig = arg;
    rig->closed++;
}

void rig_close(struct rig *rig)
{
    host_close(rig->host, on_closed, rig);
    assert_int_equal(rig->closed, 0);
    rig_wait(rig, &rig->closed, 1);
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    char command[128];
    if (rig->host && !rig->closed)
        rig_close(rig);
    defer_close(&rig->loop);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    if (rig->host)
        host_free(rig->host);
    snprintf(command, sizeof command, "rm -rf %s", rig->folder);
    assert_int_equal(system(command), 0);
    mem_free(rig);
    return 0;
}

void rig_hook(struct rig *rig, const char *body)
{
    FILE *file = fopen(rig->hook, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\ncd \"${0%%/*}\"\necho \"$*\" >>calls\n%s\n", body);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(rig->hook, 0700), 0);
}

void rig_start(struct rig *rig, uint64_t timeout_ms, bool has_answered)
{
    struct host_options options = {.hook = rig->hook, .dbus = "", .timeout_ms = timeout_ms};
    char error[HOST_ERROR_MAX] = "";
    if (!host_check(&options, error))
        fail_msg("%s", error);
    rig->host = host_new(&rig->loop, &options);
    if (has_answered)
        assert_int_equal(rig_get(rig), 0);
}

static void on_done(struct host_request *request)
{
    struct asked *asked = container_of(request, struct asked, request);
    asked->done++;
}

void rig_ask(struct rig *rig, struct asked *asked, const struct host_request *request)
{
    asked->request = *request;
    asked->request.done = on_done;
    asked->done = 0;
    host_submit(rig->host, &asked->request);
    assert_int_equal(asked->done, 0); /* never inside the call */
}

int rig_do(struct rig *rig, struct asked *asked, const struct host_request *request)
{
    rig_ask(rig, asked, request);
    rig_wait(rig, &asked->done, 1);
    return asked->request.status;
}

int rig_get(struct rig *rig)
{
    struct asked asked;
    return rig_do(rig, &asked, &(struct host_request){.verb = HOST_GET});
}

int rig_reset(struct rig *rig, enum host_reset reset)
{
    struct asked asked;
    return rig_do(rig, &asked, &(struct host_request){.verb = HOST_RESET, .reset = reset});
}

int rig_boot(struct rig *rig, enum host_target target, enum host_enabled enabled)
{
    struct asked asked;
    struct host_boot boot = {.target = target, .enabled = enabled};
    return rig_do(rig, &asked, &(struct host_request){.verb = HOST_BOOT, .boot = boot});
}

static void on_timer(uv_timer_t *timer)
{
    (void)timer; /* it has ended the wait of the loop */
}

/* Until the number is that large (NULL: never), or the time is over. */
static void run_loop(struct rig *rig, const unsigned *number, unsigned least, unsigned milliseconds)
{
    uv_timer_t timer;
    uint64_t end = uv_hrtime() + milliseconds * 1000000ull;
    uv_timer_init(&rig->loop, &timer);
    uv_timer_start(&timer, on_timer, 10, 10);
    while ((!number || *number < least) && uv_hrtime() < end)
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
}

void rig_wait(struct rig *rig, const unsigned *number, unsigned least)
{
    run_loop(rig, number, least, PATIENCE_MS);
    assert_true(*number >= least);
}

void rig_pass(struct rig *rig, unsigned milliseconds)
{
    run_loop(rig, NULL, 0, milliseconds);
}

char *rig_read(struct rig *rig, const char *name)
{
    char path[160], *text = calloc(1, FILE_MAX + 1);
    snprintf(path, sizeof path, "%s/%s", rig->folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(text);
    if (file) {
        assert_true(fread(text, 1, FILE_MAX, file) < FILE_MAX);
        fclose(file);
    }
    return text;
}

void rig_expect_file(struct rig *rig, const char *name, const char *wanted)
{
    char *text = rig_read(rig, name);
    assert_string_equal(text, wanted);
    free(text);
}

void rig_remove(struct rig *rig, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", rig->folder, name);
    unlink(path);
}
