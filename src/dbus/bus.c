#include "dbus/bus.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"

#define BUS_RETRY_MS     1000 /* the pause after a failure; it doubles, up to the next */
#define BUS_RETRY_MAX_MS 30000
#define BUS_NAME_MS      30000 /* after which a name that was refused is asked for again */
#define BUS_FLUSH_MS     500   /* at close, for what is queued */

struct bus {
    uv_loop_t *loop;
    char *address, *name;
    struct link users, calls;
    unsigned call_count;
    sd_bus *connection; /* NULL: none */
    uv_poll_t *poll;    /* of the connection's socket */
    bool running;       /* the bus has answered Hello */
    uv_timer_t timer;   /* with a connection sd-bus's, else until the next try */
    uint64_t retry_ms;
    uint64_t name_at; /* loop time at which the name is to be asked for; 0: it is not */
    bool complained;  /* the log has said that the bus is not there */
    struct defer look;
    bool closing;
    uint64_t flush_until;
    struct closing handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void bus_look(struct bus *bus);

/* --- calls --- */

static void on_call_end(struct defer *defer)
{
    struct bus_call *call = container_of(defer, struct bus_call, defer);
    struct bus *bus = call->bus;
    sd_bus_message *reply = call->reply;
    list_remove(&call->link);
    bus->call_count--;
    call->bus = NULL;
    call->reply = NULL;
    call->done(call, call->status, reply);
    sd_bus_message_unref(reply);
    if (bus->closing)
        defer_schedule(bus->loop, &bus->look);
}

static void bus_call_end(struct bus_call *call, int status, sd_bus_message *reply)
{
    if (!list_empty(&call->defer.link))
        return;
    call->status = status;
    call->reply = sd_bus_message_ref(reply);
    call->slot = sd_bus_slot_unref(call->slot);
    defer_schedule(call->bus->loop, &call->defer);
}

static int on_bus_reply(sd_bus_message *reply, void *arg, sd_bus_error *error)
{
    (void)error;
    bus_call_end(arg, sd_bus_message_is_method_error(reply, NULL) > 0 ? -sd_bus_message_get_errno(reply) : 0, reply);
    return 1;
}

void bus_call_start(struct bus *bus, struct bus_call *call, sd_bus_message *message, uint64_t timeout_ms)
{
    int status;
    if (!bus->running || bus->closing || !message)
        status = -ENOTCONN;
    else if (bus->call_count >= BUS_CALLS_MAX)
        status = -EBUSY;
    else
        status = sd_bus_call_async(bus->connection, &call->slot, message, on_bus_reply, call, timeout_ms * 1000);
    call->bus = bus;
    call->reply = NULL;
    defer_setup(&call->defer, on_call_end);
    list_append(&bus->calls, &call->link);
    bus->call_count++;
    if (status < 0) {
        call->slot = NULL;
        bus_call_end(call, status, NULL);
    }
    defer_schedule(bus->loop, &bus->look);
}

void bus_call_cancel(struct bus_call *call)
{
    if (call->bus)
        bus_call_end(call, -ECANCELED, NULL);
}

static void end_calls(struct bus *bus, int status)
{
    list_for_each (l, &bus->calls)
        bus_call_end(container_of(l, struct bus_call, link), status, NULL);
}

/* --- users --- */

static void users_down(struct bus *bus)
{
    list_for_each (l, &bus->users) {
        struct bus_user *user = container_of(l, struct bus_user, link);
        if (!user->is_up)
            continue;
        user->is_up = false;
        user->down(user);
    }
}

static void users_up(struct bus *bus)
{
    list_for_each (l, &bus->users) {
        struct bus_user *user = container_of(l, struct bus_user, link);
        if (user->is_up)
            continue;
        user->is_up = true;
        user->up(user, bus->connection);
    }
}

void bus_add_user(struct bus *bus, struct bus_user *user)
{
    user->is_up = false;
    list_append(&bus->users, &user->link);
    defer_schedule(bus->loop, &bus->look);
}

void bus_remove_user(struct bus *bus, struct bus_user *user)
{
    (void)bus;
    list_remove(&user->link);
}

/* --- the name --- */

static int on_bus_name(sd_bus_message *reply, void *arg, sd_bus_error *error)
{
    struct bus *bus = arg;
    uint32_t answer = 0;
    (void)error;
    if (sd_bus_message_is_method_error(reply, NULL) > 0) {
        const sd_bus_error *why = sd_bus_message_get_error(reply);
        log_error("dbus", "the bus refuses the name %s (does its policy allow it?): %s", bus->name,
                  why && why->message ? why->message : "no reason given");
        bus->name_at = uv_now(bus->loop) + BUS_NAME_MS;
        return 1;
    }
    sd_bus_message_read(reply, "u", &answer);
    if (answer == 2) /* DBUS_REQUEST_NAME_REPLY_IN_QUEUE */
        log_warning("dbus", "another program owns the name %s; it is ours when that one goes", bus->name);
    else
        log_info("dbus", "the name %s is ours", bus->name);
    return 1;
}

static void ask_for_name(struct bus *bus)
{
    bus->name_at = 0;
    if (sd_bus_request_name_async(bus->connection, NULL, bus->name, SD_BUS_NAME_QUEUE, on_bus_name, bus) < 0)
        bus->name_at = uv_now(bus->loop) + BUS_NAME_MS;
}

/* --- the connection --- */

static void on_bus_poll_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

static void disconnect(struct bus *bus, int status)
{
    if (!bus->connection)
        return;
    bus->running = false;
    users_down(bus);
    end_calls(bus, status);
    if (bus->poll) {
        uv_poll_stop(bus->poll); /* before sd-bus closes the socket */
        uv_close((uv_handle_t *)bus->poll, on_bus_poll_closed);
        bus->poll = NULL;
    }
    bus->connection = sd_bus_close_unref(bus->connection);
}

static void on_bus_timer(uv_timer_t *timer)
{
    bus_look(timer->data);
}

static void on_bus_poll(uv_poll_t *poll, int status, int events)
{
    (void)status; /* sd-bus meets the error itself */
    (void)events;
    bus_look(poll->data);
}

static void lose(struct bus *bus, int status)
{
    if (bus->running)
        log_warning("dbus", "the bus is gone: %s", strerror(-status));
    else if (!bus->complained)
        log_warning("dbus", "can't connect to %s: %s; it is tried again", bus->address, strerror(-status));
    bus->complained = true;
    disconnect(bus, -ENOTCONN);
    uv_timer_start(&bus->timer, on_bus_timer, bus->retry_ms, 0);
    bus->retry_ms = bus->retry_ms * 2 < BUS_RETRY_MAX_MS ? bus->retry_ms * 2 : BUS_RETRY_MAX_MS;
}

static int watch_socket(struct bus *bus)
{
    int fd = sd_bus_get_fd(bus->connection);
    if (fd < 0)
        return fd;
    uv_poll_t *poll = mem_alloc(sizeof *poll);
    int status = uv_poll_init(bus->loop, poll, fd);
    if (status != 0) {
        mem_free(poll);
        return status;
    }
    poll->data = bus;
    bus->poll = poll;
    return 0;
}

static int connect_bus(struct bus *bus)
{
    int status = sd_bus_new(&bus->connection);
    if (status >= 0)
        status = sd_bus_set_address(bus->connection, bus->address);
    if (status >= 0)
        status = sd_bus_set_bus_client(bus->connection, true);
    if (status >= 0)
        status = sd_bus_set_trusted(bus->connection, true);
    if (status >= 0)
        status = sd_bus_start(bus->connection);
    return status >= 0 ? watch_socket(bus) : status;
}

static void bus_watch(struct bus *bus)
{
    int wanted = sd_bus_get_events(bus->connection);
    int events = (wanted & POLLIN ? UV_READABLE : 0) | (wanted & POLLOUT ? UV_WRITABLE : 0);
    uint64_t at_us = UINT64_MAX, now_us = uv_hrtime() / 1000, wait_ms = UINT64_MAX;
    if (wanted >= 0 && events)
        uv_poll_start(bus->poll, events, on_bus_poll);
    else
        uv_poll_stop(bus->poll);
    if (sd_bus_get_timeout(bus->connection, &at_us) >= 0 && at_us != UINT64_MAX)
        wait_ms = at_us > now_us ? (at_us - now_us + 999) / 1000 : 0;
    uint64_t own = bus->closing ? bus->flush_until : bus->name_at, now = uv_now(bus->loop);
    if (own && (own > now ? own - now : 0) < wait_ms)
        wait_ms = own > now ? own - now : 0;
    if (wait_ms == UINT64_MAX)
        uv_timer_stop(&bus->timer);
    else
        uv_timer_start(&bus->timer, on_bus_timer, wait_ms, 0);
}

/* What the bus has for us, a part of it at a time: the socket wakes us for the rest. */
static int process(struct bus *bus)
{
    int status = 1;
    for (unsigned i = 0; i < BUS_MESSAGES_A_TURN && status > 0 && sd_bus_is_open(bus->connection) > 0; i++)
        status = sd_bus_process(bus->connection, NULL);
    uint64_t queued = 0;
    sd_bus_get_n_queued_write(bus->connection, &queued);
    if (status >= 0 && sd_bus_is_open(bus->connection) <= 0)
        status = -ECONNRESET;
    return status >= 0 && queued > BUS_QUEUED_MAX ? -ENOBUFS : status;
}

static void become_ready(struct bus *bus)
{
    bus->running = true;
    bus->complained = false;
    bus->retry_ms = BUS_RETRY_MS;
    log_debug("dbus", "connected to %s", bus->address);
    users_up(bus);
    if (*bus->name)
        ask_for_name(bus);
}

static void attend(struct bus *bus)
{
    int status = process(bus);
    if (status < 0) {
        lose(bus, status);
        return;
    }
    if (!bus->running && sd_bus_is_ready(bus->connection) > 0)
        become_ready(bus);
    else if (bus->running)
        users_up(bus); /* for the users that were added since */
    if (bus->name_at && uv_now(bus->loop) >= bus->name_at)
        ask_for_name(bus);
    bus_watch(bus);
}

static void bus_on_closed(struct closing *closing)
{
    struct bus *bus = container_of(closing, struct bus, handles);
    void (*closed)(void *arg) = bus->closed;
    void *arg = bus->closed_arg;
    defer_cancel(&bus->look);
    while (list_pop(&bus->users))
        ; /* a user that is removed later is on no list then */
    mem_free(bus->address);
    mem_free(bus->name);
    mem_free(bus);
    closed(arg);
}

static bool must_flush(struct bus *bus)
{
    uint64_t queued = 0;
    if (!bus->connection || !bus->running || uv_now(bus->loop) >= bus->flush_until || process(bus) < 0)
        return false;
    sd_bus_get_n_queued_write(bus->connection, &queued);
    return queued > 0;
}

static void close_step(struct bus *bus)
{
    if (bus->handles.done)
        return;
    users_down(bus);
    end_calls(bus, -ECANCELED);
    if (must_flush(bus)) {
        bus_watch(bus);
        return;
    }
    disconnect(bus, -ECANCELED);
    uv_timer_stop(&bus->timer);
    if (!list_empty(&bus->calls))
        return; /* when the last call has ended, this is called again */
    closing_begin(&bus->handles, bus->loop, bus_on_closed);
    closing_add(&bus->handles, (uv_handle_t *)&bus->timer);
    closing_end(&bus->handles);
}

/* The one place where the bus goes on, whatever has happened. */
static void bus_look(struct bus *bus)
{
    if (bus->closing) {
        close_step(bus);
        return;
    }
    if (!bus->connection) {
        int status = uv_is_active((uv_handle_t *)&bus->timer) ? 1 : connect_bus(bus);
        if (status < 0)
            lose(bus, status);
    }
    if (bus->connection)
        attend(bus);
}

static void on_bus_look(struct defer *defer)
{
    bus_look(container_of(defer, struct bus, look));
}

sd_bus *bus_connection(struct bus *bus)
{
    if (!bus->running || bus->closing)
        return NULL;
    defer_schedule(bus->loop, &bus->look);
    return bus->connection;
}

/* --- life --- */

/* sd-bus would start a program (unixexec:) and wait for a name server (tcp:), if asked to. */
static bool address_is_usable(const char *address)
{
    return strncmp(address, "unix:", 5) == 0 && !strchr(address, ';');
}

static bool find_address(const char *bus, char *address, size_t size)
{
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR"), *given = bus;
    if (strcmp(bus, "system") == 0) {
        given = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
        given = given ? given : "unix:path=/run/dbus/system_bus_socket";
    } else if (strcmp(bus, "session") == 0) {
        given = secure_getenv("DBUS_SESSION_BUS_ADDRESS");
        if (!given && runtime)
            return (size_t)snprintf(address, size, "unix:path=%s/bus", runtime) < size;
    }
    return given && address_is_usable(given) && (size_t)snprintf(address, size, "%s", given) < size;
}

struct bus *bus_new(uv_loop_t *loop, const struct bus_options *options, char *error, size_t error_size)
{
    char address[512];
    if (!find_address(options->bus, address, sizeof address)) {
        snprintf(error, error_size,
                 "the bus \"%s\" is neither \"system\" nor \"session\" (which the environment must name) nor "
                 "\"unix:...\"",
                 options->bus);
        return NULL;
    }
    if (*options->name && sd_bus_service_name_is_valid(options->name) <= 0) {
        snprintf(error, error_size, "\"%s\" is no name that a bus knows", options->name);
        return NULL;
    }
    struct bus *bus = mem_alloc(sizeof *bus);
    bus->loop = loop;
    bus->address = mem_strdup(address);
    bus->name = mem_strdup(options->name);
    bus->retry_ms = BUS_RETRY_MS;
    list_init(&bus->users);
    list_init(&bus->calls);
    defer_setup(&bus->look, on_bus_look);
    uv_timer_init(loop, &bus->timer);
    bus->timer.data = bus;
    defer_schedule(loop, &bus->look);
    return bus;
}

void bus_close(struct bus *bus, void (*closed)(void *arg), void *arg)
{
    assert(!bus->closing);
    bus->closing = true;
    bus->closed = closed;
    bus->closed_arg = arg;
    bus->flush_until = uv_now(bus->loop) + BUS_FLUSH_MS;
    defer_schedule(bus->loop, &bus->look);
}
