/*
 * WebSocket frames of any client: no crash, no leak, the loop closes empty, and
 * any split of the input gives the same bytes, the same end and the same answers.
 * The first byte of the input is the size of the pieces it is cut into, the
 * second one the number of bytes after which the owner stops reading for a while.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/net/memory_stream.h"
#include "fuzz_loop.h"
#include "http/websocket.h"

#define MESSAGE_MAX 2000
#define SIZE        65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    unsigned char got[SIZE], said[SIZE];
    size_t got_length, said_length;
    int ends, status;
    uint16_t code;
    char reason[WEBSOCKET_REASON_MAX + 1];
    size_t pause; /* 0: never */
    bool paused, closed;
};

static void on_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct outcome *o = stream->owner;
    if (o->paused || o->ends || o->got_length + length > SIZE)
        abort();
    memcpy(o->got + o->got_length, data, length);
    o->got_length += length;
    o->paused = o->pause && o->got_length % o->pause == 0;
    if (o->paused)
        stream_read(stream, false);
}

static void on_end(struct stream *stream, int status)
{
    struct outcome *o = stream->owner;
    o->ends++;
    o->status = status;
    o->code = websocket_peer_code(stream);
    strcpy(o->reason, websocket_peer_reason(stream));
}

static void on_closed(struct stream *stream)
{
    ((struct outcome *)stream->owner)->closed = true;
    stream_free(stream);
}

/* What the stream does with what it has, and reads on after each pause. */
static void turn(struct stream *stream, struct memory_peer *client)
{
    struct outcome *o = stream->owner;
    do {
        if (o->paused) {
            o->paused = false;
            stream_read(stream, true);
        }
        uv_run(stream->loop, UV_RUN_NOWAIT);
        o->said_length += memory_peer_receive(client, o->said + o->said_length, SIZE - o->said_length);
    } while (o->paused);
}

static struct stream *make_stream(struct memory_peer *client, struct outcome *o)
{
    struct websocket_options options = {.message_max = MESSAGE_MAX};
    struct slices early;
    slices_init(&early);
    struct stream *stream = websocket_stream_new(memory_stream_new(fuzz_loop(), client), &early, &options);
    stream->owner = o;
    stream->on_data = on_data;
    stream->on_end = on_end;
    stream->on_closed = on_closed;
    stream_read(stream, true);
    return stream;
}

static void play(const uint8_t *data, size_t size, size_t split, struct outcome *o)
{
    struct memory_peer client;
    memset(o, 0, offsetof(struct outcome, pause));
    o->closed = o->paused = false;
    struct stream *stream = make_stream(&client, o);
    for (size_t at = 0; at < size; at += split) {
        if (!memory_peer_send(&client, data + at, split < size - at ? split : size - at))
            break;
        turn(stream, &client);
    }
    memory_peer_hang_up(&client);
    turn(stream, &client);
    stream_close(stream);
    while (!o->closed)
        uv_run(stream->loop, UV_RUN_ONCE);
    memory_peer_clear(&client);
    fuzz_loop_must_be_empty();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, split;
    if (size < 3 || size > 4096)
        return 0;
    whole.pause = 0;
    split.pause = data[1];
    play(data + 2, size - 2, size, &whole);
    play(data + 2, size - 2, data[0] % 32 + 1u, &split);
    if (whole.got_length != split.got_length || memcmp(whole.got, split.got, whole.got_length) != 0 ||
        whole.said_length != split.said_length || memcmp(whole.said, split.said, whole.said_length) != 0)
        abort();
    if (whole.ends != 1 || split.ends != 1 || whole.status != split.status || whole.code != split.code ||
        strcmp(whole.reason, split.reason) != 0)
        abort();
    return 0;
}
