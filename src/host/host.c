#include "host/host.h"

#include <build-config.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "host/backend.h"
#include "host/hook.h"
#ifdef HAVE_DBUS
#include "host/openbmc.h"
#endif

#define WHO "host"

struct host {
    uv_loop_t *loop;
    struct host_options options;  /* texts of our own */
    struct host_backend *backend; /* NULL: none is configured, or the old one is gone and the new one not made yet */
    bool backend_closing;
    bool changing; /* `options` are new: the back-end is made anew once nothing runs */
    bool asked;    /* the back-end was asked at least once, so that it is known what it can do */

    struct link changes, readers; /* requests that wait */
    unsigned change_count, reader_count;
    struct link ended;            /* their `done` is due */
    struct host_request *running; /* the change under way; NULL: none */
    struct host_request get;      /* asks for the state, on behalf of all readers */
    bool reading;                 /* `get` is under way */
    bool read_next;               /* readers have waited for a change, and come before the next one */

    struct host_state state;
    bool fetched; /* the state was read since the last change; at fetched_at (loop time) */
    uint64_t fetched_at;
    struct host_boot set; /* what was set here, for a platform that does not tell */

    struct defer turn;
    bool closing, is_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void host_next(struct host *host);

/* --- the end of a request --- */

static void host_end_one(struct host *host, struct host_request *request, int status, const char *error)
{
    request->status = status;
    snprintf(request->error, sizeof request->error, "%s", error);
    list_remove(&request->link);
    list_append(&host->ended, &request->link);
}

static void host_end(struct host *host, struct host_request *request, int status, const char *error)
{
    host_end_one(host, request, status, error);
    for (struct link *l = list_pop(&request->twins); l; l = list_pop(&request->twins))
        host_end_one(host, container_of(l, struct host_request, link), status, error);
    defer_schedule(host->loop, &host->turn);
}

static void end_all(struct host *host, struct link *list, int status, const char *error)
{
    list_for_each (l, list)
        host_end(host, container_of(l, struct host_request, link), status, error);
}

static void tell_ended(struct host *host)
{
    for (struct link *l = list_pop(&host->ended); l; l = list_pop(&host->ended)) {
        struct host_request *request = container_of(l, struct host_request, link);
        request->done(request);
    }
}

/* --- the state --- */

static bool is_fresh(const struct host *host)
{
    return host->fetched && !host->changing && uv_now(host->loop) - host->fetched_at < HOST_FRESH_MS;
}

static void take_state(struct host *host, int status, const char *error, const struct host_state *state)
{
    if (status == 0) {
        host->state = *state;
        host->state.known = true;
        if (!state->boot_told)
            host->state.boot = host->set;
        if (!state->modes)
            host->state.boot.mode = HOST_MODE_UNKNOWN;
    } else {
        if (host->state.status == 0)
            log_warning(WHO, "the platform does not tell its state: %s", error);
        host->state.power = HOST_POWER_UNKNOWN; /* what the platform can do stays known */
    }
    if (status != 0 && (status != host->state.status || strcmp(error, host->state.error) != 0))
        host->state.failed_at = time(NULL);
    host->state.status = status;
    snprintf(host->state.error, sizeof host->state.error, "%s", error);
    host->fetched = true;
    host->fetched_at = uv_now(host->loop);
}

/* Does it make the host start from its boot source? */
static bool does_boot(enum host_reset reset)
{
    return reset == HOST_RESET_ON || reset == HOST_RESET_FORCE_ON || reset == HOST_RESET_GRACEFUL_RESTART ||
           reset == HOST_RESET_FORCE_RESTART || reset == HOST_RESET_POWER_CYCLE;
}

static void take_change(struct host *host, const struct host_request *request)
{
    if (request->verb == HOST_BOOT)
        host->set = request->boot;
    else if (does_boot(request->reset) && host->set.enabled == HOST_ONCE)
        host->set = (struct host_boot){.target = HOST_TARGET_NONE, .mode = host->set.mode};
    if (!host->state.boot_told)
        host->state.boot = host->set;
}

static void on_host_done(struct host_backend *backend, int status, const char *error, const struct host_state *state)
{
    struct host *host = backend->owner;
    struct host_request *request = host->running;
    char words[128];
    if (host->reading && host->changing) {
        host->reading = false; /* the answer is of the old back-end: the readers ask the new one */
    } else if (host->reading) {
        host->reading = false;
        take_state(host, status, error, state);
        end_all(host, &host->readers, status, error);
        host->reader_count = 0;
    } else {
        host->running = NULL;
        host->fetched = false;
        host->read_next = host->reader_count > 0;
        host_request_text(request, words, sizeof words);
        if (status == 0)
            take_change(host, request);
        if (status == 0)
            log_notice(WHO, "%s: done", words);
        else
            log_error(WHO, "%s: %s", words, error);
        host_end(host, request, status, error);
    }
    defer_schedule(host->loop, &host->turn);
}

/* --- back-ends --- */

static bool host_wrong(char error[HOST_ERROR_MAX], const char *what)
{
    snprintf(error, HOST_ERROR_MAX, "%s", what);
    return false;
}

bool host_check(const struct host_options *options, char error[HOST_ERROR_MAX])
{
    const char *bus = options->dbus;
    if (*options->hook && *bus)
        return host_wrong(error, "hook and dbus exclude each other: give one of them");
#ifndef HAVE_DBUS
    if (*bus)
        return host_wrong(error, "dbus: this nbd-proxy was built without D-Bus (it needs libsystemd)");
#endif
    if (*bus && strcmp(bus, "system") != 0 && strcmp(bus, "session") != 0 &&
        (strncmp(bus, "unix:", 5) != 0 || strchr(bus, ';')))
        return host_wrong(error,
                          "dbus: expected system, session, or one address like unix:path=/run/dbus/system_bus_socket");
    return !*options->hook || hook_file_check(options->hook, error);
}

static void on_backend_closed(struct host_backend *backend)
{
    struct host *host = backend->owner;
    host->backend = NULL;
    host->backend_closing = false;
    defer_schedule(host->loop, &host->turn);
}

/* NULL: there is none; the log says why. */
static struct host_backend *new_backend(const struct host *host)
{
    if (*host->options.hook)
        return hook_new(host->loop, host->options.hook, host->options.timeout_ms, host->options.start);
#ifdef HAVE_DBUS
    char error[HOST_ERROR_MAX];
    struct host_backend *backend =
        *host->options.dbus ? openbmc_new(host->loop, host->options.dbus, host->options.timeout_ms, error) : NULL;
    if (*host->options.dbus && !backend)
        log_error(WHO, "dbus: %s", error);
    return backend;
#else
    return NULL;
#endif
}

static void open_backend(struct host *host)
{
    static const struct host_state nothing;
    host->changing = host->asked = host->fetched = false;
    host->state = nothing;
    host->set = nothing.boot;
    host->backend = new_backend(host);
    if (!host->backend)
        return;
    host->backend->owner = host;
    host->backend->done = on_host_done;
    host->backend->closed = on_backend_closed;
}

static void close_backend(struct host *host)
{
    if (host->backend_closing)
        return;
    host->backend_closing = true;
    host->backend->ops->close(host->backend);
}

/* --- whose turn it is --- */

static void start_change(struct host *host)
{
    struct host_request *request = container_of(host->changes.next, struct host_request, link);
    char error[HOST_ERROR_MAX];
    host->change_count--;
    if (host_problem(host, request, error)) {
        host_end(host, request, -ENOTSUP, error);
        return;
    }
    list_remove(&request->link);
    host->running = request;
    host->backend->ops->run(host->backend, request);
}

static void start_reading(struct host *host)
{
    host->read_next = false;
    host->asked = true;
    if (is_fresh(host)) {
        end_all(host, &host->readers, host->state.status, host->state.error);
        host->reader_count = 0;
        return;
    }
    host->reading = true;
    host->backend->ops->run(host->backend, &host->get);
}

static void host_finish_closing(struct host *host)
{
    if (host->is_closed)
        return;
    host->is_closed = true;
    host->closed(host->closed_arg);
}

static const char *why_not(const struct host *host)
{
    return host->closing ? "the daemon is stopping"
                         : "nothing can be done to the host (set hook or dbus in section [host] of nbd-proxy.conf)";
}

/* Starts what is next, while nothing runs. */
static void host_next(struct host *host)
{
    if (host->backend && (host->closing || host->changing)) {
        close_backend(host);
        return;
    }
    if (host->changing && !host->closing)
        open_backend(host);
    if (!host->backend) {
        int status = host->closing ? -ECANCELED : -ENODEV;
        end_all(host, &host->changes, status, why_not(host));
        end_all(host, &host->readers, status, why_not(host));
        host->change_count = host->reader_count = 0;
    } else if (!list_empty(&host->changes) && !(host->read_next && host->reader_count > 0)) {
        start_change(host);
    } else if (!list_empty(&host->readers) || !host->asked) {
        start_reading(host); /* the first time even without readers, to learn what the platform can do */
    }
    if (host->closing && !host->backend && list_empty(&host->ended))
        host_finish_closing(host);
}

static void on_turn(struct defer *defer)
{
    struct host *host = container_of(defer, struct host, turn);
    tell_ended(host);
    if (!host->running && !host->reading)
        host_next(host);
}

/* --- requests --- */

static bool lists_without(unsigned mask, unsigned bit)
{
    return !(mask & (1u << bit));
}

bool host_problem(const struct host *host, const struct host_request *request, char error[HOST_ERROR_MAX])
{
    const struct host_state *state = &host->state;
    const char *name = NULL;
    *error = '\0';
    if (!host_is_configured(host)) {
        snprintf(error, HOST_ERROR_MAX, "%s", why_not(host));
        return true;
    }
    if (!state->known)
        return false;
    if (request->verb == HOST_RESET && lists_without(state->resets, request->reset))
        name = host_reset_name(request->reset);
    if (request->verb == HOST_BOOT && lists_without(state->targets, request->boot.target))
        name = host_target_name(request->boot.target);
    if (request->verb == HOST_BOOT && request->boot.mode != HOST_MODE_UNKNOWN &&
        lists_without(state->modes, request->boot.mode))
        name = host_mode_name(request->boot.mode);
    if (!name)
        return false;
    snprintf(error, HOST_ERROR_MAX, "the platform does not offer %s %s", request->verb == HOST_RESET ? "reset" : "boot",
             name);
    return true;
}

static void submit_reader(struct host *host, struct host_request *request)
{
    if (is_fresh(host) && !host->running) {
        host_end(host, request, host->state.status, host->state.error);
    } else if (host->reader_count == HOST_READERS_MAX) {
        host_end(host, request, -EBUSY, "too many wait for the host's state");
    } else {
        list_append(&host->readers, &request->link);
        host->reader_count++;
    }
}

static bool host_is_twin(const struct host_request *one, const struct host_request *other)
{
    return one->occasion == other->occasion && one->verb == other->verb &&
           (one->verb == HOST_BOOT || one->reset == other->reset) && one->boot.target == other->boot.target &&
           one->boot.enabled == other->boot.enabled && one->boot.mode == other->boot.mode;
}

/* The change that waits or runs and is this one; NULL: none. */
static struct host_request *host_twin(struct host *host, const struct host_request *request)
{
    if (!request->occasion)
        return NULL;
    if (host->running && host_is_twin(host->running, request))
        return host->running;
    list_for_each (l, &host->changes)
        if (host_is_twin(container_of(l, struct host_request, link), request))
            return container_of(l, struct host_request, link);
    return NULL;
}

static void host_prepare(struct host_request *request)
{
    list_init(&request->link);
    list_init(&request->twins);
    request->twin_count = 0;
}

bool host_join(struct host *host, struct host_request *request)
{
    struct host_request *twin = host_twin(host, request);
    if (!twin)
        return false;
    host_prepare(request);
    if (twin->twin_count == HOST_TWINS_MAX) {
        host_end(host, request, -EBUSY, "too many wait for the same change of the host");
    } else {
        list_append(&twin->twins, &request->link);
        twin->twin_count++;
    }
    return true;
}

void host_submit(struct host *host, struct host_request *request)
{
    host_prepare(request);
    if (!host_is_configured(host) || host->closing) {
        host_end(host, request, host->closing ? -ECANCELED : -ENODEV, why_not(host));
    } else if (request->verb == HOST_GET) {
        submit_reader(host, request);
    } else if (host_join(host, request)) {
        return; /* its twin's turn is its own */
    } else if (host->change_count == HOST_CHANGES_MAX) {
        host_end(host, request, -EBUSY, "too many changes of the host wait for their turn");
    } else {
        list_append(&host->changes, &request->link);
        host->change_count++;
    }
    defer_schedule(host->loop, &host->turn);
}

bool host_is_configured(const struct host *host)
{
    return *host->options.hook || *host->options.dbus;
}

const struct host_state *host_get_state(const struct host *host)
{
    return &host->state;
}

/* --- life --- */

static void set_options(struct host *host, const struct host_options *options)
{
    mem_free((char *)(uintptr_t)host->options.hook);
    mem_free((char *)(uintptr_t)host->options.dbus);
    host->options = (struct host_options){
        .hook = mem_strdup(options->hook),
        .dbus = mem_strdup(options->dbus),
        .timeout_ms = options->timeout_ms,
        .start = options->start};
}

struct host *host_new(uv_loop_t *loop, const struct host_options *options)
{
    struct host *host = mem_alloc(sizeof *host);
    host->loop = loop;
    host->get.verb = HOST_GET;
    list_init(&host->changes);
    list_init(&host->readers);
    list_init(&host->ended);
    defer_setup(&host->turn, on_turn);
    set_options(host, options);
    open_backend(host);
    defer_schedule(loop, &host->turn);
    return host;
}

void host_reload(struct host *host, const struct host_options *options)
{
    const struct host_options *now = &host->options;
    if (strcmp(now->hook, options->hook) == 0 && strcmp(now->dbus, options->dbus) == 0 &&
        now->timeout_ms == options->timeout_ms)
        return;
    set_options(host, options);
    host->changing = true;
    host->state.known = false;
    defer_schedule(host->loop, &host->turn);
}

void host_close(struct host *host, void (*closed)(void *arg), void *arg)
{
    host->closing = true;
    host->closed = closed;
    host->closed_arg = arg;
    end_all(host, &host->changes, -ECANCELED, why_not(host));
    host->change_count = 0;
    if (host->running || host->reading)
        host->backend->ops->cancel(host->backend);
    defer_schedule(host->loop, &host->turn);
}

void host_free(struct host *host)
{
    mem_free((char *)(uintptr_t)host->options.hook);
    mem_free((char *)(uintptr_t)host->options.dbus);
    mem_free(host);
}
