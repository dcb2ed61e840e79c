/*
 * Counts several uv_close() down to one callback. An object that owns handles
 * embeds a `struct closing`, closes each handle with closing_add(), and then
 * calls closing_end(): once all are closed `done` comes through the queue of
 * base/defer.h, behind all that was scheduled before.
 * The handles' `data` must be left alone from closing_add() on.
 */
#ifndef BASE_CLOSING_H
#define BASE_CLOSING_H

#include <uv.h>

#include "base/defer.h"

struct closing {
    unsigned pending;
    void (*done)(struct closing *closing);
    struct defer defer;
    uv_loop_t *loop;
};

void closing_begin(struct closing *closing, uv_loop_t *loop, void (*done)(struct closing *closing));
void closing_add(struct closing *closing, uv_handle_t *handle);
void closing_end(struct closing *closing);

#endif
