#include "http/websocket_frame.h"

#include <string.h>
#include <wslay/wslay.h>

#include "base/text.h"

#define MASKED    0x80
#define LENGTH    0x7f
#define LENGTH_16 126
#define LENGTH_64 127

bool websocket_is_control(uint8_t opcode)
{
    return wslay_is_ctrl_frame(opcode);
}

/* Each context is for one header: wslay would go on with the payload, which does not pass through it here. */
static wslay_frame_context_ptr http_websocket_frame_context_new(const struct wslay_frame_callbacks *callbacks,
                                                                void *arg)
{
    wslay_frame_context_ptr context;
    if (wslay_frame_context_init(&context, callbacks, arg) != 0)
        mem_exhausted();
    return context;
}

/* --- reading --- */

size_t websocket_header_size(const uint8_t *header, size_t have)
{
    if (have < 2)
        return 2;
    uint8_t length = header[1] & LENGTH;
    return 2u + (length == LENGTH_64 ? 8u : length == LENGTH_16 ? 2u : 0u) + (header[1] & MASKED ? 4u : 0u);
}

static bool http_websocket_frame_is_known(uint8_t opcode)
{
    return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

struct header_input {
    const uint8_t *header;
    size_t left;
};

/* The header, and then zeroes for a payload: unmasked, they are the masking key, which wslay tells in no other way. */
static ssize_t on_wanted(uint8_t *to, size_t room, int flags, void *arg)
{
    struct header_input *in = arg;
    size_t length = in->left ? in->left : sizeof((struct websocket_frame *)NULL)->mask;
    (void)flags;
    if (length > room)
        return -1;
    if (in->left)
        memcpy(to, in->header, length);
    else
        memset(to, 0, length);
    in->left = 0;
    return (ssize_t)length;
}

bool websocket_frame_decode(const uint8_t *header, size_t size, struct websocket_frame *frame)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = on_wanted};
    struct header_input in = {header, size};
    struct wslay_frame_iocb found;
    wslay_frame_context_ptr context = http_websocket_frame_context_new(&callbacks, &in);
    ssize_t length = wslay_frame_recv(context, &found);
    bool good = length >= 0 && found.rsv == WSLAY_RSV_NONE && found.mask && http_websocket_frame_is_known(found.opcode);
    if (good) {
        *frame = (struct websocket_frame){found.fin, found.opcode, found.payload_length, {0}};
        memcpy(frame->mask, found.data, (size_t)length); /* a payload below four bytes needs less of it */
    }
    wslay_frame_context_free(context);
    return good;
}

void websocket_unmask(uint8_t *to, const uint8_t *from, size_t length, const uint8_t mask[4], uint64_t at)
{
    uint8_t turned[8];
    uint64_t word, masks;
    size_t i = 0;
    for (unsigned k = 0; k < sizeof turned; k++)
        turned[k] = mask[(at + k) % 4];
    memcpy(&masks, turned, sizeof masks);
    for (; i + sizeof word <= length; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= masks;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < length; i++)
        to[i] = from[i] ^ turned[i % sizeof turned];
}

/* --- writing --- */

struct header_output {
    uint8_t *header;
    size_t used;
};

static ssize_t on_http_websocket_frame_written(const uint8_t *data, size_t length, int flags, void *arg)
{
    struct header_output *out = arg;
    (void)flags;
    if (length > WEBSOCKET_HEADER_MAX - out->used)
        return -1;
    memcpy(out->header + out->used, data, length);
    out->used += length;
    return (ssize_t)length;
}

size_t websocket_frame_encode(uint8_t header[WEBSOCKET_HEADER_MAX], uint8_t opcode, uint64_t length)
{
    static const struct wslay_frame_callbacks callbacks = {.send_callback = on_http_websocket_frame_written};
    struct header_output out = {header, 0};
    struct wslay_frame_iocb frame = {.fin = 1, .opcode = opcode, .payload_length = length};
    wslay_frame_context_ptr context = http_websocket_frame_context_new(&callbacks, &out);
    wslay_frame_send(context, &frame);
    wslay_frame_context_free(context);
    return out.used;
}

/* --- what a close says --- */

bool websocket_is_sendable_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* The bytes of the character that starts here; 0 if it is not valid (RFC 3629). */
static size_t character_size(const uint8_t *text, size_t left)
{
    static const struct {
        uint8_t from, to, second_from, second_to, size;
    } kinds[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                 {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (text[0] < kinds[i].from || text[0] > kinds[i].to)
            continue;
        if (kinds[i].size > left)
            return 0;
        for (size_t k = 1; k < kinds[i].size; k++)
            if (text[k] < (k == 1 ? kinds[i].second_from : 0x80) || text[k] > (k == 1 ? kinds[i].second_to : 0xbf))
                return 0;
        return kinds[i].size;
    }
    return 0;
}

bool websocket_is_utf8(const uint8_t *text, size_t length)
{
    while (length > 0) {
        size_t size = character_size(text, length);
        if (size == 0)
            return false;
        text += size;
        length -= size;
    }
    return true;
}
