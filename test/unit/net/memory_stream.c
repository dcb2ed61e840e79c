#include "memory_stream.h"

#include <errno.h>

#include "base/text.h"

#define ONE_READ (256u << 10) /* what a socket hands over at once */

struct memory_stream {
    struct stream stream;
    struct memory_peer *peer;
    struct slices waiting; /* written, and the other end has no room for it */
    struct defer input, drained, failed, closed;
    bool reading, end_told, error_told;
};

static struct memory_stream *memory_of(struct stream *stream)
{
    return container_of(stream, struct memory_stream, stream);
}

/* --- reading --- */

static void look_for_input(struct memory_stream *m)
{
    const struct memory_peer *peer = m->peer;
    if (m->reading && !m->stream.closing && (peer->to_stream.length > 0 || (peer->hung_up && !m->end_told)))
        defer_schedule(m->stream.loop, &m->input);
}

static void on_input(struct defer *defer)
{
    struct memory_stream *m = container_of(defer, struct memory_stream, input);
    struct slices *input = &m->peer->to_stream;
    if (!m->reading || m->stream.closing)
        return;
    if (input->length > 0) {
        size_t length = input->length < ONE_READ ? input->length : ONE_READ;
        uint8_t *data = mem_alloc(length); /* of just this size: a read behind it is seen */
        struct slices part;
        slices_init(&part);
        slices_move(&part, input, length);
        slices_copy_out(&part, 0, data, length);
        slices_clear(&part);
        m->stream.on_data(&m->stream, data, length);
        mem_free(data);
    } else if (m->peer->hung_up && !m->end_told) {
        m->end_told = true;
        m->reading = false;
        m->stream.on_end(&m->stream, 0);
    }
    look_for_input(m);
}

static void memory_read(struct stream *stream, bool on)
{
    memory_of(stream)->reading = on;
    look_for_input(memory_of(stream));
}

/* --- writing --- */

static void pass_on(struct memory_stream *m)
{
    struct slices *to = &m->peer->from_stream;
    uint64_t room = to->length < MEMORY_STREAM_ROOM ? MEMORY_STREAM_ROOM - to->length : 0;
    slices_move(to, &m->waiting, room < m->waiting.length ? room : m->waiting.length);
    m->stream.unsent = m->waiting.length;
}

static void on_drained(struct defer *defer)
{
    struct memory_stream *m = container_of(defer, struct memory_stream, drained);
    if (m->stream.unsent == 0 && m->stream.on_drain)
        m->stream.on_drain(&m->stream);
}

static void on_write_failed(struct defer *defer)
{
    struct memory_stream *m = container_of(defer, struct memory_stream, failed);
    m->reading = false;
    m->end_told = m->error_told = true;
    m->stream.on_end(&m->stream, -EPIPE);
}

static void memory_write(struct stream *stream, struct slices *data)
{
    struct memory_stream *m = memory_of(stream);
    if (m->peer->hung_up) {
        slices_clear(data);
        if (!m->error_told)
            defer_schedule(stream->loop, &m->failed);
        return;
    }
    slices_take(&m->waiting, data);
    pass_on(m);
}

/* --- life --- */

static void on_memory_closed(struct defer *defer)
{
    struct memory_stream *m = container_of(defer, struct memory_stream, closed);
    m->stream.on_closed(&m->stream);
}

static void memory_close(struct stream *stream)
{
    struct memory_stream *m = memory_of(stream);
    defer_cancel(&m->input);
    defer_cancel(&m->drained);
    defer_cancel(&m->failed);
    slices_clear(&m->waiting);
    m->peer->stream_ended = true;
    defer_schedule(stream->loop, &m->closed);
}

static void memory_free(struct stream *stream)
{
    struct memory_stream *m = memory_of(stream);
    m->peer->stream = NULL;
    mem_free(m);
}

struct stream *memory_stream_new(uv_loop_t *loop, struct memory_peer *peer)
{
    static const struct stream_ops ops = {memory_read, memory_write, memory_close, memory_free};
    struct memory_stream *m = mem_alloc(sizeof *m);
    m->stream.ops = &ops;
    m->stream.loop = loop;
    m->peer = peer;
    slices_init(&m->waiting);
    defer_setup(&m->input, on_input);
    defer_setup(&m->drained, on_drained);
    defer_setup(&m->failed, on_write_failed);
    defer_setup(&m->closed, on_memory_closed);
    *peer = (struct memory_peer){.stream = m};
    slices_init(&peer->to_stream);
    slices_init(&peer->from_stream);
    return &m->stream;
}

/* --- the test's end --- */

bool memory_peer_send(struct memory_peer *peer, const void *data, size_t length)
{
    if (peer->stream_ended || peer->hung_up)
        return false;
    slices_add_copy(&peer->to_stream, data, (uint32_t)length);
    look_for_input(peer->stream);
    return true;
}

size_t memory_peer_receive(struct memory_peer *peer, void *to, size_t size)
{
    struct slices part;
    size_t length = peer->from_stream.length < size ? peer->from_stream.length : size;
    if (length == 0)
        return 0;
    slices_init(&part);
    slices_move(&part, &peer->from_stream, length);
    slices_copy_out(&part, 0, to, length);
    slices_clear(&part);
    if (!peer->stream_ended && peer->stream->waiting.length > 0) {
        pass_on(peer->stream);
        if (peer->stream->stream.unsent == 0)
            defer_schedule(peer->stream->stream.loop, &peer->stream->drained);
    }
    return length;
}

void memory_peer_hang_up(struct memory_peer *peer)
{
    peer->hung_up = true;
    slices_clear(&peer->from_stream);
    if (!peer->stream_ended)
        look_for_input(peer->stream);
}

void memory_peer_clear(struct memory_peer *peer)
{
    slices_clear(&peer->to_stream);
    slices_clear(&peer->from_stream);
}
