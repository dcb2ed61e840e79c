/*
 * One connection to a D-Bus bus (sd-bus of libsystemd) on the loop. Nothing waits:
 * connecting, Hello, the name and each call are answered later. A bus that is not
 * there, or goes away, is tried again with growing pauses, for ever.
 *
 * Whoever has objects or matches on the bus is a `struct bus_user`: `up` comes each
 * time the bus can be used, and there they are added to the connection; `down` when
 * it is gone, and there the user's slots (sd_bus_slot) are given back: a slot that is
 * kept would keep the dead connection. The bus's name is asked for after every `up`, so
 * that whoever sees the name sees the objects.
 *
 * Handlers of objects and matches run inside sd_bus_process(). They may use all that
 * is here, and of sd-bus what does not wait: no sd_bus_call(), sd_bus_add_match(),
 * sd_bus_request_name(), sd_bus_get_unique_name() or sd_bus_flush(), but their
 * asynchronous kin. Who may call is the bus's policy: the connection is "trusted",
 * since sd-bus's own check asks the bus for the sender's capabilities and waits.
 *
 * Bounds: BUS_CALLS_MAX calls under way, BUS_QUEUED_MAX messages that the bus does
 * not take (then the connection is given up), BUS_MESSAGES_A_TURN handled in a row.
 * Source: sd-bus(3), D-Bus Specification 0.43.
 */
#ifndef DBUS_BUS_H
#define DBUS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <uv.h>

#include "base/defer.h"
#include "base/list.h"

#define BUS_CALLS_MAX       64
#define BUS_QUEUED_MAX      1024
#define BUS_MESSAGES_A_TURN 32

struct bus;

struct bus_options {
    const char *bus;  /* "system", "session", or one address "unix:path=..." */
    const char *name; /* well-known name to own; "": none */
};

/* Connects from the loop. NULL when such a bus can't be meant, `error` says why. */
struct bus *bus_new(uv_loop_t *loop, const struct bus_options *options, char *error, size_t error_size);
/* The connection, NULL while there is none. Not to be kept: it is asked for again for
 * each use, since what was queued on it is looked after once the caller has returned. */
sd_bus *bus_connection(struct bus *bus);
/* Calls under way end with -ECANCELED, users that are still there go `down`, what is
 * queued is sent if the bus takes it at once. Then the bus frees itself and calls
 * `closed`, once, not inside this call; nothing comes after that. */
void bus_close(struct bus *bus, void (*closed)(void *arg), void *arg);

struct bus_user {
    void (*up)(struct bus_user *user, sd_bus *connection);
    void (*down)(struct bus_user *user);
    /* private to bus.c */
    struct link link;
    bool is_up;
};
/* `up` comes later, even when the bus is there already. */
void bus_add_user(struct bus *bus, struct bus_user *user);
/* Neither `up` nor `down` comes any more: the user gives back its slots itself. */
void bus_remove_user(struct bus *bus, struct bus_user *user);

/* A method call. The caller owns it until `done`, which comes exactly once, from the
 * loop: 0 and the answer; or a negative errno, and the error message when the peer sent
 * one: -ETIMEDOUT, -ENOTCONN (no bus, or it went away), -EBUSY (too many), -ECANCELED,
 * or what sd_bus_message_get_errno() makes of the error. */
struct bus_call {
    void (*done)(struct bus_call *call, int status, sd_bus_message *reply); /* valid in the call */
    /* private to bus.c */
    struct bus *bus; /* set while the call is under way */
    struct link link;
    sd_bus_slot *slot;
    sd_bus_message *reply;
    int status;
    struct defer defer;
};
/* `message` is made with sd_bus_message_new_method_call(bus_connection(bus), ...) and stays
 * the caller's; NULL (as when there is no connection to make it on) ends with -ENOTCONN. */
void bus_call_start(struct bus *bus, struct bus_call *call, sd_bus_message *message, uint64_t timeout_ms);
/* `done` comes with -ECANCELED, unless the call has ended already. Does nothing with a
 * call that is not under way (all zeroes, or done). */
void bus_call_cancel(struct bus_call *call);

#endif
