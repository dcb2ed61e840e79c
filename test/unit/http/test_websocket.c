/* WebSocket as a stream: against wslay's client, and frame by frame, however they are cut. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "base/log.h"
#include "http/websocket.h"
#include "http/websocket_frame.h"
#include "net/socket.h"

#define GOT_SIZE (4u << 20)

struct end {
    uv_loop_t loop;
    struct stream *stream;
    int peer;
    unsigned char got[GOT_SIZE];
    size_t length, stop_after;
    int ends, end_status, drains;
    uint16_t peer_code;
    char peer_reason[200];
    bool closed, inside, echo, close_at_end, peer_ended;
    unsigned char said[GOT_SIZE]; /* what the peer received */
    size_t said_length;
};

static struct end end;

static void on_data(struct stream *stream, const uint8_t *data, size_t length)
{
    assert_false(end.inside || stream->closing);
    assert_true(end.length + length <= sizeof end.got);
    memcpy(end.got + end.length, data, length);
    end.length += length;
    if (end.echo) {
        struct slices copy;
        slices_init(&copy);
        slices_add_copy(&copy, data, (uint32_t)length);
        stream_write(stream, &copy);
    }
    if (end.stop_after && end.length >= end.stop_after)
        stream_read(stream, false);
}

static void on_end(struct stream *stream, int status)
{
    assert_false(end.inside);
    end.ends++;
    end.end_status = status;
    end.peer_code = websocket_peer_code(stream);
    strcpy(end.peer_reason, websocket_peer_reason(stream));
    assert_int_equal(status == 0, websocket_error(stream)[0] == 0);
    if (end.close_at_end)
        stream_close(stream);
}

static void on_drain(struct stream *stream)
{
    assert_int_equal(stream->unsent, 0);
    end.drains++;
}

static void on_closed(struct stream *stream)
{
    assert_false(end.inside || end.closed);
    end.closed = true;
    stream_free(stream);
}

static void adopt(struct stream *stream)
{
    end.stream = stream;
    stream->owner = &end;
    stream->on_data = on_data;
    stream->on_end = on_end;
    stream->on_drain = on_drain;
    stream->on_closed = on_closed;
    stream_read(stream, true);
}

static void begin(const struct websocket_options *options, const char *early)
{
    struct websocket_options defaults = {.message_max = 0};
    struct slices early_data;
    int pair[2], status;
    memset(&end, 0, sizeof end);
    test_loop_begin(&end.loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    slices_init(&early_data);
    slices_add_copy(&early_data, early, (uint32_t)strlen(early));
    end.peer = pair[1];
    adopt(websocket_stream_new(socket_stream_new(&end.loop, pair[0], &status), &early_data,
                               options ? options : &defaults));
}

static void run(int turns)
{
    for (int i = 0; i < turns; i++)
        uv_run(&end.loop, UV_RUN_NOWAIT);
}

static void hear(void)
{
    for (int quiet = 0; quiet < 4;) {
        uv_run(&end.loop, UV_RUN_NOWAIT);
        size_t room = sizeof end.said - end.said_length;
        ssize_t n = recv(end.peer, end.said + end.said_length, room < 65536 ? room : 65536, MSG_DONTWAIT);
        end.peer_ended = end.peer_ended || n == 0;
        quiet = n > 0 ? 0 : quiet + 1;
        end.said_length += n > 0 ? (size_t)n : 0;
    }
}

static void finish(void)
{
    if (end.peer >= 0)
        close(end.peer);
    if (!end.closed) {
        end.inside = true;
        stream_close(end.stream);
        end.inside = false;
    }
    while (!end.closed)
        uv_run(&end.loop, UV_RUN_ONCE);
    test_loop_end(&end.loop);
}

/* --- frames by hand --- */

struct script {
    unsigned char bytes[300000];
    size_t length;
};

static void put_raw(struct script *s, const void *data, size_t length)
{
    memcpy(s->bytes + s->length, data, length);
    s->length += length;
}

/* First byte with FIN and opcode as given; masked. */
static void put_frame(struct script *s, uint8_t first, const void *payload, size_t length)
{
    uint8_t header[WEBSOCKET_HEADER_MAX];
    static const uint8_t mask[4] = {0xa1, 0x02, 0xf3, 0x54};
    size_t size = websocket_frame_encode(header, 0, length);
    header[0] = first;
    header[1] |= 0x80;
    put_raw(s, header, size);
    put_raw(s, mask, sizeof mask);
    for (size_t i = 0; i < length; i++)
        s->bytes[s->length++] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
}

static void say(const struct script *s, size_t split)
{
    for (size_t at = 0; at < s->length && !end.peer_ended;) {
        size_t part = split && split < s->length - at ? split : s->length - at;
        ssize_t n = send(end.peer, s->bytes + at, part, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        at += n > 0 ? (size_t)n : 0;
        run(1);
    }
    hear();
}

static const size_t splits[] = {0, 1, 2, 3, 5, 64, 1000};

static void frames_are_a_byte_stream_however_they_are_cut(void **state)
{
    (void)state;
    static struct script s;
    static unsigned char data[70000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7 + i / 255);
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        s.length = 0;
        size_t big = splits[i] && splits[i] < 64 ? 300 : 70000;
        put_frame(&s, 0x82, data, 3);
        put_frame(&s, 0x02, data + 3, 4); /* a message of three frames, with a ping in it */
        put_frame(&s, 0x00, data + 7, 0);
        put_frame(&s, 0x89, "hey", 3);
        put_frame(&s, 0x80, data + 7, 125);
        put_frame(&s, 0x8a, "unasked", 7);
        put_frame(&s, 0x82, data + 132, 0);
        put_frame(&s, 0x89, "", 0);
        put_frame(&s, 0x82, data + 132, big - 132);
        begin(NULL, "");
        say(&s, splits[i]);
        assert_int_equal(end.length, big);
        assert_memory_equal(end.got, data, big);
        assert_int_equal(end.said_length, 7);
        assert_memory_equal(end.said, "\x8a\x03hey\x8a\x00", 7);
        finish();
    }
}

static void bytes_that_came_early_come_first(void **state)
{
    (void)state;
    static struct script s;
    s.length = 0;
    put_frame(&s, 0x82, "abcdef", 6);
    s.bytes[s.length] = 0;
    char early[6];
    memcpy(early, s.bytes, 5);
    early[5] = 0;
    begin(NULL, early);
    memmove(s.bytes, s.bytes + 5, s.length -= 5);
    say(&s, 0);
    assert_int_equal(end.length, 6);
    assert_memory_equal(end.got, "abcdef", 6);
    finish();
}

/* The code in the close frame that the peer got; 0 if there is none. Checks that nothing follows. */
static unsigned code_said(size_t at)
{
    if (end.said_length < at + 4 || end.said[at] != 0x88)
        return 0;
    assert_int_equal(end.said_length, at + 2u + end.said[at + 1]);
    return (unsigned)end.said[at + 2] << 8 | end.said[at + 3];
}

static void expect_fault(const struct script *s, unsigned code, int status)
{
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        struct websocket_options options = {.message_max = 1000};
        begin(&options, "");
        end.close_at_end = true;
        say(s, s->length > 1000 ? 0 : splits[i]);
        assert_int_equal(end.ends, 1);
        assert_int_equal(end.end_status, status);
        assert_int_equal(end.length, 0);
        assert_int_equal(code_said(0), code);
        finish();
    }
}

static void what_breaks_the_rules_is_closed_with_the_right_code(void **state)
{
    (void)state;
    static struct script s;
    static unsigned char zeroes[2000];
    static const char *const bad_headers[] = {
        "\x82\x01x", /* not masked */
        "\xc2\x80....",
        "\xa2\x80....",
        "\x92\x80....", /* reserved bits */
        "\x83\x80....",
        "\x8b\x80....",
        "\x87\x80....", /* unknown opcodes */
        "\x09\x80....",
        "\x08\x80....",         /* control frames in pieces */
        "\x89\xfe\x01\x01....", /* and too long */
        "\x82\xfe\x00\x7d....", /* a length in too many bytes */
        "\x80\x80....",         /* nothing to continue */
    };
    static const size_t bad_sizes[] = {3, 6, 6, 6, 6, 6, 6, 6, 6, 8, 8, 6};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof bad_sizes[0]; i++) {
        s.length = 0;
        put_raw(&s, bad_headers[i], bad_sizes[i]);
        expect_fault(&s, 1002, -EPROTO);
    }
    s.length = 0;
    put_raw(&s, "\x82\xff\x80\0\0\0\0\0\0\0....", 14); /* 2^63 */
    expect_fault(&s, 1002, -EPROTO);
    s.length = 0;
    put_raw(&s, "\x82\xff\0\0\0\0\0\0\xff\xff....", 14);
    expect_fault(&s, 1002, -EPROTO);
    s.length = 0;
    put_frame(&s, 0x02, "", 0); /* a message within a message */
    put_frame(&s, 0x82, "x", 1);
    expect_fault(&s, 1002, -EPROTO);
    s.length = 0;
    put_frame(&s, 0x81, "text", 4);
    expect_fault(&s, 1003, -EPROTO);
    s.length = 0;
    put_frame(&s, 0x82, zeroes, 1001);
    expect_fault(&s, 1009, -EMSGSIZE);
    s.length = 0;
    put_raw(&s, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff....", 14); /* 2^63 - 1: known from its header */
    expect_fault(&s, 1009, -EMSGSIZE);
}

static void a_message_is_bounded_over_all_its_frames(void **state)
{
    (void)state;
    static struct script s;
    static unsigned char zeroes[1000];
    struct websocket_options options = {.message_max = 1000};
    s.length = 0;
    put_frame(&s, 0x02, zeroes, 600);
    put_frame(&s, 0x00, zeroes, 400);
    put_frame(&s, 0x80, zeroes, 0);
    put_frame(&s, 0x82, zeroes, 1000);
    put_frame(&s, 0x02, zeroes, 600);
    begin(&options, "");
    say(&s, 0);
    assert_int_equal(end.ends, 0);
    assert_int_equal(end.length, 2600);
    s.length = 0;
    put_frame(&s, 0x80, zeroes, 401);
    say(&s, 0);
    assert_int_equal(end.end_status, -EMSGSIZE);
    assert_int_equal(end.length, 2600);
    assert_int_equal(code_said(0), 1009);
    finish();
}

static void the_peers_close_is_understood_and_answered(void **state)
{
    (void)state;
    static const struct {
        const char *payload;
        size_t length;
        int status;
        unsigned code, answer;
        const char *reason;
    } cases[] = {
        {"", 0, 0, 1005, 1000, ""}, /* a page that says nothing hears that nothing is wrong */
        {"\x03\xe8", 2, 0, 1000, 1000, ""},
        {"\x03\xe9going \xe2\x82\xac", 11, 0, 1001, 1001, "going \xe2\x82\xac"},
        {"\x0f\xa0own", 5, 0, 4000, 4000, "own"},
        {"\x03", 1, -EPROTO, 1006, 1002, ""},
        {"\x03\xed", 2, -EPROTO, 1006, 1002, ""}, /* 1005 is never sent */
        {"\x03\xee", 2, -EPROTO, 1006, 1002, ""},
        {"\x03\xf7", 2, -EPROTO, 1006, 1002, ""}, /* 1015 */
        {"\x00\x00", 2, -EPROTO, 1006, 1002, ""},
        {"\x13\x88", 2, -EPROTO, 1006, 1002, ""}, /* 5000 */
        {"\x03\xe8\xff", 3, -EPROTO, 1006, 1007, ""},
        {"\x03\xe8\xed\xa0\x80", 5, -EPROTO, 1006, 1007, ""},
        {"\x03\xe8\xc0\xaf", 4, -EPROTO, 1006, 1007, ""},
        {"\x03\xe8\xf4\x90\x80\x80", 6, -EPROTO, 1006, 1007, ""},
        {"\x03\xe8\xe2\x82", 4, -EPROTO, 1006, 1007, ""},
    };
    static struct script s;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t k = 0; k < 2; k++) {
            s.length = 0;
            put_frame(&s, 0x88, cases[i].payload, cases[i].length);
            put_frame(&s, 0x82, "after", 5);
            begin(NULL, "");
            end.close_at_end = true;
            say(&s, k);
            assert_int_equal(end.ends, 1);
            assert_int_equal(end.end_status, cases[i].status);
            assert_int_equal(end.peer_code, cases[i].code);
            assert_string_equal(end.peer_reason, cases[i].reason);
            assert_int_equal(end.length, 0);
            assert_int_equal(code_said(0), cases[i].answer);
            if (cases[i].status == 0) {
                run(3);
                assert_true(end.closed); /* at once: both sides have closed */
            }
            finish();
        }
    }
}

static void our_close_says_why_and_waits_a_little(void **state)
{
    (void)state;
    static struct script s;
    begin(NULL, "");
    websocket_close(end.stream, 1011, "the image can't be read");
    hear();
    assert_int_equal(code_said(0), 1011);
    assert_memory_equal(end.said + 4, "the image can't be read", 23);
    assert_false(end.closed);
    s.length = 0;
    put_frame(&s, 0x82, "still on its way", 16); /* is dropped: on_data would fail the test */
    put_frame(&s, 0x88, "\x03\xf3", 2);
    say(&s, 1);
    assert_true(end.closed);
    assert_true(end.peer_ended);
    assert_int_equal(end.ends, 0);
    finish();

    begin(NULL, ""); /* a peer that does not answer */
    uint64_t before = uv_now(&end.loop);
    websocket_close(end.stream, 1000, "");
    while (!end.closed)
        uv_run(&end.loop, UV_RUN_ONCE);
    assert_true(uv_now(&end.loop) - before >= WEBSOCKET_LINGER_MS);
    finish();

    begin(NULL, ""); /* the plain stream_close() */
    stream_close(end.stream);
    hear();
    assert_int_equal(code_said(0), 1001);
    finish();
}

static void a_reason_is_cut_between_characters(void **state)
{
    (void)state;
    char reason[200];
    memset(reason, 'a', sizeof reason);
    memcpy(reason + 121, "\xe2\x82\xac", 3);
    reason[150] = 0;
    begin(NULL, "");
    websocket_close(end.stream, 1008, reason);
    hear();
    assert_int_equal(code_said(0), 1008);
    assert_int_equal(end.said_length, 2 + 2 + 121);
    finish();
}

static void a_cut_connection_is_an_error(void **state)
{
    (void)state;
    static struct script s;
    for (int with = 0; with < 2; with++) {
        s.length = 0;
        put_frame(&s, 0x82, "abcdef", 6);
        s.length -= with ? 3 : 0;
        begin(NULL, "");
        say(&s, 0);
        close(end.peer);
        end.peer = -1;
        run(4);
        assert_int_equal(end.length, with ? 3 : 6);
        assert_int_equal(end.ends, 1);
        assert_int_equal(end.end_status, -ECONNRESET);
        assert_int_equal(end.peer_code, 1006);
        finish();
    }
}

static void reading_goes_off_at_once(void **state)
{
    (void)state;
    static struct script s;
    static unsigned char data[200000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 11 + i / 251);
    s.length = 0;
    for (size_t at = 0; at < sizeof data; at += 1000)
        put_frame(&s, 0x82, data + at, 1000);
    begin(NULL, "");
    end.stop_after = 1;
    for (size_t sent = 0; end.length < sizeof data;) {
        ssize_t n = sent < s.length ? send(end.peer, s.bytes + sent, s.length - sent, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        sent += n > 0 ? (size_t)n : 0;
        run(5);
        assert_true(end.length == end.stop_after + 999); /* one frame, then no more */
        run(5);
        end.stop_after += 1000;
        end.inside = true;
        stream_read(end.stream, true);
        end.inside = false;
    }
    assert_memory_equal(end.got, data, sizeof data);
    finish();
}

static void a_flood_of_pings_is_not_read(void **state)
{
    (void)state;
    static struct script s;
    unsigned char payload[125] = {0};
    size_t total = 0;
    s.length = 0;
    for (int i = 0; i < 1000; i++)
        put_frame(&s, 0x89, payload, sizeof payload);
    begin(NULL, "");
    for (int quiet = 0; quiet < 20;) { /* its pongs are never read */
        ssize_t n =
            send(end.peer, s.bytes + total % s.length, s.length - total % s.length, MSG_NOSIGNAL | MSG_DONTWAIT);
        quiet = n > 0 ? 0 : quiet + 1;
        total += n > 0 ? (size_t)n : 0;
        assert_true(total < 8u << 20);
        run(1);
    }
    assert_int_equal(end.ends, 0);
    size_t pongs = 0; /* and when they are, none is lost */
    while (pongs < total / 131 * 127) {
        end.said_length = 0;
        hear();
        pongs += end.said_length;
        if (end.said_length == 0)
            break;
    }
    assert_int_equal(pongs, total / 131 * 127);
    finish();
}

static void a_peer_that_is_silent_is_dead(void **state)
{
    (void)state;
    struct websocket_options options = {.ping_ms = 50, .dead_ms = 500};
    static struct script s;
    begin(&options, "");
    s.length = 0;
    put_frame(&s, 0x8a, "", 0);
    for (int i = 0; i < 80; i++) { /* pongs keep it alive */
        usleep(10000);
        say(&s, 0);
    }
    assert_int_equal(end.ends, 0);
    assert_true(end.said_length >= 10);
    assert_memory_equal(end.said, "\x89\x00\x89\x00", 4);
    while (!end.ends)
        uv_run(&end.loop, UV_RUN_ONCE);
    assert_int_equal(end.end_status, -ETIMEDOUT);
    finish();

    begin(&options, ""); /* who is not listened to can't be dead */
    stream_read(end.stream, false);
    for (int i = 0; i < 70; i++) {
        usleep(10000);
        hear();
    }
    assert_int_equal(end.ends, 0);
    finish();
}

static void each_write_is_one_message(void **state)
{
    (void)state;
    struct slices data;
    begin(NULL, "");
    slices_init(&data);
    slices_add_copy(&data, "one", 3);
    slices_add_copy(&data, "two", 3);
    stream_write(end.stream, &data);
    slices_add_copy(&data, "x", 1);
    stream_write(end.stream, &data);
    hear();
    assert_int_equal(end.said_length, 11);
    assert_memory_equal(end.said, "\x82\x06onetwo\x82\x01x", 11);
    slices_alloc(&data, 3 * WEBSOCKET_MESSAGE_MAX + 5, BYTES_PIECE);
    slices_zero(&data, 0, data.length);
    stream_write(end.stream, &data);
    assert_true(end.stream->unsent > 0);
    end.said_length = 0;
    hear();
    assert_int_equal(end.said_length, 3 * (10 + WEBSOCKET_MESSAGE_MAX) + 2 + 5);
    assert_memory_equal(end.said, "\x82\x7f\0\0\0\0\0\x10\0\0", 10);
    assert_memory_equal(end.said + 3 * (10 + WEBSOCKET_MESSAGE_MAX), "\x82\x05", 2);
    assert_int_equal(end.drains, 1);
    finish();
}

/* --- wslay at the other end --- */

struct client {
    wslay_event_context_ptr context;
    unsigned char echoed[GOT_SIZE];
    size_t length;
    uint16_t code;
};

static ssize_t client_recv(wslay_event_context_ptr context, uint8_t *to, size_t length, int flags, void *arg)
{
    (void)flags;
    (void)arg;
    ssize_t n = recv(end.peer, to, length, MSG_DONTWAIT);
    if (n <= 0)
        wslay_event_set_error(context, n < 0 && errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return n <= 0 ? -1 : n;
}

static ssize_t client_send(wslay_event_context_ptr context, const uint8_t *data, size_t length, int flags, void *arg)
{
    (void)flags;
    (void)arg;
    ssize_t n = send(end.peer, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        wslay_event_set_error(context, errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return n;
}

static int client_mask(wslay_event_context_ptr context, uint8_t *to, size_t length, void *arg)
{
    (void)context;
    (void)arg;
    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)random();
    return 0;
}

static void client_message(wslay_event_context_ptr context, const struct wslay_event_on_msg_recv_arg *message,
                           void *arg)
{
    struct client *client = arg;
    (void)context;
    if (message->opcode == WSLAY_BINARY_FRAME) {
        assert_true(client->length + message->msg_length <= GOT_SIZE);
        memcpy(client->echoed + client->length, message->msg, message->msg_length);
        client->length += message->msg_length;
    } else if (message->opcode == WSLAY_CONNECTION_CLOSE) {
        client->code = message->status_code;
    }
}

static void wslay_agrees(void **state)
{
    (void)state;
    static struct client client;
    static unsigned char data[GOT_SIZE];
    struct wslay_event_callbacks callbacks = {.recv_callback = client_recv,
                                              .send_callback = client_send,
                                              .genmask_callback = client_mask,
                                              .on_msg_recv_callback = client_message};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)random();
    begin(NULL, "");
    end.echo = true;
    assert_int_equal(wslay_event_context_client_init(&client.context, &callbacks, &client), 0);
    size_t total = 0;
    for (unsigned i = 0; i < 200; i++) {
        size_t length = i % 50 == 49 ? 700000 : i % 10 == 9 ? 66000 : (size_t)random() % 300;
        length = length < sizeof data - total ? length : sizeof data - total;
        struct wslay_event_msg message = {WSLAY_BINARY_FRAME, data + total, length};
        struct wslay_event_msg ping = {WSLAY_PING, (const uint8_t *)"p", 1};
        assert_int_equal(wslay_event_queue_msg(client.context, &message), 0);
        if (i % 7 == 0)
            assert_int_equal(wslay_event_queue_msg(client.context, &ping), 0);
        total += length;
    }
    while (client.length < total) {
        assert_int_equal(wslay_event_send(client.context), 0);
        run(1);
        assert_int_equal(wslay_event_recv(client.context), 0);
    }
    assert_memory_equal(client.echoed, data, total);
    assert_memory_equal(end.got, data, total);
    websocket_close(end.stream, 1011, "later"); /* wslay 1.1 knows no 1013 */
    for (int i = 0; i < 5; i++) {
        run(1);
        assert_int_equal(wslay_event_recv(client.context), 0);
        assert_int_equal(wslay_event_send(client.context), 0);
    }
    run(3);
    assert_int_equal(client.code, 1011);
    assert_true(end.closed);
    wslay_event_context_free(client.context);
    finish();
}

/* --- the handshake --- */

static void the_accept_key_is_that_of_the_rfc(void **state)
{
    (void)state;
    char accept[WEBSOCKET_ACCEPT_SIZE];
    assert_true(websocket_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept));
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(websocket_accept_key("", accept));
    assert_false(websocket_accept_key("dGhlIHNhbXBsZSBub25jZQ=", accept));
    assert_false(websocket_accept_key("dGhlIHNhbXBsZSBub25jZQ===", accept));
    assert_false(websocket_accept_key("dGhlIHNhbXBsZSBub25jZTE=", accept));
    assert_false(websocket_accept_key("dGhlIHNhbXBsZSBub25jZ!==", accept));
    assert_false(websocket_accept_key("dGhlIHNhbXBsZSBub2====Q==", accept));
}

static void an_origin_must_be_ours_or_listed(void **state)
{
    (void)state;
    static const char *const listed[] = {"https://ops.example", NULL};
    static const struct {
        const char *origin, *host;
        bool tls, good;
    } cases[] = {
        {"https://bmc", "bmc", true, true},
        {"https://BMC", "bmc", true, true},
        {"https://bmc", "bmc:443", true, true},
        {"https://bmc:443", "bmc", true, true},
        {"https://bmc:8443", "bmc:8443", true, true},
        {"https://[fe80::1]", "[fe80::1]", true, true},
        {"http://bmc", "bmc:80", false, true},
        {"https://bmc", "bmc", false, true}, /* a proxy speaks TLS for us */
        {"https://ops.example", "bmc", true, true},
        {"http://bmc", "bmc", true, false},
        {"https://bmc:8443", "bmc", true, false},
        {"https://bmc", "bmc:8443", true, false},
        {"https://evil.example", "bmc", true, false},
        {"https://bmc.evil.example", "bmc", true, false},
        {"https://evil.bmc", "bmc", true, false},
        {"https://bmc/", "bmc", true, false},
        {"null", "bmc", true, false},
        {"", "bmc", true, false},
        {"https://", "", true, false},
        {"bmc", "bmc", false, false},
        {"file://bmc", "bmc", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (websocket_origin_allowed(cases[i].origin, cases[i].host, cases[i].tls, listed) != cases[i].good)
            fail_msg("%s at %s", cases[i].origin, cases[i].host);
    assert_false(websocket_origin_allowed("https://ops.example", "bmc", true, NULL));
}

static void on_request(struct http_request *request, void *arg)
{
    struct websocket_options options = {.message_max = 0};
    unsigned status = websocket_check(request);
    (void)arg;
    if (status) {
        http_reply(request, status, NULL, NULL, 0);
        return;
    }
    end.echo = true;
    adopt(websocket_upgrade(request, websocket_offers(request, "nbd") ? "nbd" : NULL, &options));
}

static void on_server_closed(void *arg)
{
    *(bool *)arg = true;
}

/* What the server says to a request; with an echo of "hi" behind a 101. */
static void handshake(const char *fields, const char *words)
{
    struct http_server_options options = {.who = "test", .handler = on_request, .max_connections = 1};
    struct http_client client = {.peer = "test"};
    static struct script s;
    char head[1000];
    bool closed = false;
    int pair[2], status;
    memset(&end, 0, sizeof end);
    test_loop_begin(&end.loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    end.peer = pair[1];
    struct http_server *server = http_server_new(&end.loop, &options);
    http_server_add_client(server, socket_stream_new(&end.loop, pair[0], &status), &client);
    snprintf(head, sizeof head, "%s\r\n\r\n", fields);
    s.length = 0;
    put_raw(&s, head, strlen(head));
    put_frame(&s, 0x82, "hi", 2);
    say(&s, 0);
    end.said[end.said_length] = 0;
    if (!strstr((char *)end.said, words))
        fail_msg("%s\ngives\n%s\nnot %s", fields, end.said, words);
    if (end.stream)
        assert_memory_equal(end.said + end.said_length - 4, "\x82\x02hi", 4);
    end.closed = !end.stream;
    http_server_close(server, on_server_closed, &closed);
    while (!closed)
        uv_run(&end.loop, UV_RUN_ONCE);
    finish();
}

#define UPGRADE "Host: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13     "Sec-WebSocket-Version: 13"

static void the_handshake_is_checked(void **state)
{
    (void)state;
    handshake("GET /nbd/0 HTTP/1.1\r\n" UPGRADE KEY V13,
              "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    handshake("GET / HTTP/1.1\r\n" UPGRADE KEY V13, "HTTP/1.1 101 Switching Protocols\r\n");
    handshake("GET / HTTP/1.1\r\n" UPGRADE KEY V13 "\r\nSec-WebSocket-Protocol: a, nbd",
              "\r\nSec-WebSocket-Protocol: nbd\r\n\r\n");
    handshake("GET / HTTP/1.1\r\n" UPGRADE KEY V13 "\r\nSec-WebSocket-Protocol: nbdx", "xOo=\r\n\r\n");
    handshake("GET / HTTP/1.1\r\n" UPGRADE KEY "Sec-WebSocket-Version: 8", "HTTP/1.1 426 Upgrade Required\r\n");
    handshake("GET / HTTP/1.1\r\n" UPGRADE KEY "Sec-WebSocket-Version: 8", "\r\nSec-WebSocket-Version: 13\r\n");
    handshake("GET / HTTP/1.1\r\n" UPGRADE KEY "X: y", "HTTP/1.1 426");
    handshake("GET / HTTP/1.1\r\n" UPGRADE V13, "HTTP/1.1 400");
    handshake("GET / HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Key: short\r\n" V13, "HTTP/1.1 400");
    handshake("POST / HTTP/1.1\r\n" UPGRADE KEY V13, "HTTP/1.1 405");
    handshake("GET / HTTP/1.1\r\nHost: h\r\n" KEY V13, "HTTP/1.1 426");
    handshake("GET / HTTP/1.0\r\n" UPGRADE KEY V13, "HTTP/1.1 426");
    handshake("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" KEY V13, "HTTP/1.1 426");
    handshake("GET / HTTP/1.1\r\n" UPGRADE KEY KEY V13, "HTTP/1.1 400");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_a_byte_stream_however_they_are_cut),
        cmocka_unit_test(bytes_that_came_early_come_first),
        cmocka_unit_test(what_breaks_the_rules_is_closed_with_the_right_code),
        cmocka_unit_test(a_message_is_bounded_over_all_its_frames),
        cmocka_unit_test(the_peers_close_is_understood_and_answered),
        cmocka_unit_test(our_close_says_why_and_waits_a_little),
        cmocka_unit_test(a_reason_is_cut_between_characters),
        cmocka_unit_test(a_cut_connection_is_an_error),
        cmocka_unit_test(reading_goes_off_at_once),
        cmocka_unit_test(a_flood_of_pings_is_not_read),
        cmocka_unit_test(a_peer_that_is_silent_is_dead),
        cmocka_unit_test(each_write_is_one_message),
        cmocka_unit_test(wslay_agrees),
        cmocka_unit_test(the_accept_key_is_that_of_the_rfc),
        cmocka_unit_test(an_origin_must_be_ours_or_listed),
        cmocka_unit_test(the_handshake_is_checked),
    };
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
