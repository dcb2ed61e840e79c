#include "fuzz_loop.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/defer.h"

static uv_loop_t the_loop;
static unsigned handles_at_first; /* the deferrals' */

static void count_handle(uv_handle_t *handle, void *count)
{
    (void)handle;
    ++*(unsigned *)count;
}

static unsigned handles_on_loop(void)
{
    unsigned count = 0;
    uv_walk(&the_loop, count_handle, &count);
    return count;
}

uv_loop_t *fuzz_loop(void)
{
    static bool made;
    if (!made) {
        uv_loop_init(&the_loop);
        defer_init(&the_loop);
        handles_at_first = handles_on_loop();
        made = true;
    }
    return &the_loop;
}

void fuzz_loop_must_be_empty(void)
{
    uv_run(&the_loop, UV_RUN_NOWAIT);
    if (uv_loop_alive(&the_loop) || handles_on_loop() != handles_at_first)
        abort();
}
