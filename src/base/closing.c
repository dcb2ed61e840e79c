#include "base/closing.h"

static void on_closing_deferred(struct defer *defer)
{
    struct closing *closing = container_of(defer, struct closing, defer);
    closing->done(closing);
}

static void closing_drop(struct closing *closing)
{
    if (--closing->pending == 0)
        defer_schedule(closing->loop, &closing->defer);
}

static void on_closing_closed(uv_handle_t *handle)
{
    closing_drop(handle->data);
}

void closing_begin(struct closing *closing, uv_loop_t *loop, void (*done)(struct closing *closing))
{
    closing->pending = 1; /* held by closing_begin() until closing_end() */
    closing->done = done;
    closing->loop = loop;
    defer_setup(&closing->defer, on_closing_deferred);
}

void closing_add(struct closing *closing, uv_handle_t *handle)
{
    closing->pending++;
    handle->data = closing;
    uv_close(handle, on_closing_closed);
}

void closing_end(struct closing *closing)
{
    closing_drop(closing);
}
