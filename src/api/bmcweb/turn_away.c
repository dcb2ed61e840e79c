/*
 * Browsers that come when their slot has no room. bmcweb reads nothing of a WebSocket, its end neither, before we are
 * connected, and forgets the slot only at that end: a Mount that is refused with an error leaves the slot in use there for
 * ever. So such a Mount is answered `true`, and the browser is told that it is over, by NBD.
 *
 * bmcweb sends an Unmount when the WebSocket has ended, as always. It is not for the medium that is in: one that comes
 * from the same caller within BMCWEB_TURNED_MS of that end is answered and does nothing.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "api/bmcweb/internal.h"
#include "base/text.h"
#include "net/socket.h"
#include "net/stream.h"

struct turned_away {
    struct link link; /* in bmcweb->turned */
    struct bmcweb *bmcweb;
    const struct bmcweb_object *object; /* NULL: it is gone, or its Unmount has come */
    char caller[64];
    struct stream *stream; /* NULL: closed */
    bool ended;
    uint64_t until; /* loop time: for the browser to go; then for the Unmount to come */
};

/* Client flags, EXPORT_NAME, and DISC: as much as a browser's server takes in one go (NBD, doc/proto.md). */
static const uint8_t farewell[] = {0,    0,    0,    3,    'I', 'H', 'A', 'V', 'E', 'O', 'P', 'T', 0, 0, 0, 1, 0, 0, 0, 0,
                                   0x25, 0x60, 0x95, 0x13, 0,   0,   0,   2,   0,   0,   0,   0,   0, 0, 0, 0, 0, 0, 0, 0,
                                   0,    0,    0,    0,    0,   0,   0,   0};

static void turned_free(struct turned_away *turned)
{
    struct bmcweb *bmcweb = turned->bmcweb;
    list_remove(&turned->link);
    mem_free(turned);
    bmcweb->turned_count--;
    bmcweb_op_gone(bmcweb);
}

static void turned_end(struct turned_away *turned)
{
    if (turned->ended)
        return;
    turned->ended = true;
    turned->until = uv_now(turned->bmcweb->loop) + BMCWEB_TURNED_MS;
    stream_close(turned->stream);
}

static void on_turned_data(struct stream *stream, const uint8_t *data, size_t length)
{
    (void)stream, (void)data, (void)length; /* its greeting, and the export's size */
}

static void on_turned_end(struct stream *stream, int status)
{
    (void)status;
    turned_end(stream->owner);
}

static void on_turned_closed(struct stream *stream)
{
    struct turned_away *turned = stream->owner;
    stream_free(stream);
    turned->stream = NULL;
    if (turned->bmcweb->stopping)
        turned_free(turned);
}

static void say_farewell(struct stream *stream)
{
    struct slices data;
    slices_init(&data);
    slices_add_copy(&data, farewell, sizeof farewell);
    stream_write(stream, &data);
    stream_read(stream, true);
}

int bmcweb_turn_away(const struct bmcweb_object *object, int fd, const char *caller)
{
    struct bmcweb *bmcweb = object->bmcweb;
    int status;
    struct stream *stream = socket_stream_new(bmcweb->loop, fd, &status);
    if (!stream)
        return status;
    struct turned_away *turned = mem_alloc(sizeof *turned);
    turned->bmcweb = bmcweb;
    turned->object = object;
    turned->stream = stream;
    turned->until = uv_now(bmcweb->loop) + BMCWEB_TURNING_MS;
    snprintf(turned->caller, sizeof turned->caller, "%s", caller ? caller : "");
    list_append(&bmcweb->turned, &turned->link);
    bmcweb->turned_count++;
    stream->owner = turned;
    stream->on_data = on_turned_data;
    stream->on_end = on_turned_end;
    stream->on_closed = on_turned_closed;
    say_farewell(stream);
    return 0;
}

/* bmcweb closes the socket before it calls, but the bus may be heard first. */
static bool has_hung_up(const struct turned_away *turned)
{
    struct pollfd poller = {.fd = turned->ended ? -1 : socket_fd(turned->stream), .events = POLLRDHUP};
    return turned->ended || (poll(&poller, 1, 0) == 1 && poller.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

bool bmcweb_turned_unmounts(const struct bmcweb_object *object, const char *caller)
{
    list_for_each (l, &object->bmcweb->turned) {
        struct turned_away *turned = container_of(l, struct turned_away, link);
        if (turned->object != object || !caller || strcmp(turned->caller, caller) != 0 || !has_hung_up(turned))
            continue;
        turned->object = NULL;
        return true;
    }
    return false;
}

void bmcweb_turned_forget(const struct bmcweb_object *object)
{
    list_for_each (l, &object->bmcweb->turned) {
        struct turned_away *turned = container_of(l, struct turned_away, link);
        if (turned->object == object)
            turned->object = NULL;
    }
}

void bmcweb_turned_tick(struct bmcweb *bmcweb)
{
    list_for_each (l, &bmcweb->turned) {
        struct turned_away *turned = container_of(l, struct turned_away, link);
        if (uv_now(bmcweb->loop) < turned->until)
            continue;
        if (!turned->ended)
            turned_end(turned);
        else if (!turned->stream)
            turned_free(turned);
    }
}

void bmcweb_turned_stop(struct bmcweb *bmcweb)
{
    bmcweb->stopping = true;
    list_for_each (l, &bmcweb->turned) {
        struct turned_away *turned = container_of(l, struct turned_away, link);
        if (turned->stream)
            turned_end(turned);
        else
            turned_free(turned);
    }
}
