/*
 * Counts several uv_close() down to one callback. An object that owns handles
 * embeds a `struct closing`, closes each handle with closing_add(), and then
 * calls closing_end(): `done` runs once all are closed, never inside
 * closing_end() itself (with no handle to close it is deferred).
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
