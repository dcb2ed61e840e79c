#include "http/websocket_frame.h"

#include <string.h>

#define FIN       0x80
#define RESERVED  0x70
#define OPCODE    0x0f
#define MASKED    0x80
#define LENGTH    0x7f
#define LENGTH_16 126
#define LENGTH_64 127

bool websocket_is_control(uint8_t opcode)
{
    return opcode >= 8;
}

size_t websocket_header_size(const uint8_t *header, size_t have)
{
    if (have < 2)
        return 2;
    uint8_t length = header[1] & LENGTH;
    return 2u + (length == LENGTH_64 ? 8u : length == LENGTH_16 ? 2u : 0u) + (header[1] & MASKED ? 4u : 0u);
}

static uint64_t big_endian(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static bool is_known(uint8_t opcode)
{
    return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

bool websocket_frame_decode(const uint8_t *header, struct websocket_frame *frame)
{
    uint8_t length = header[1] & LENGTH;
    unsigned extra = length == LENGTH_64 ? 8 : length == LENGTH_16 ? 2 : 0;
    frame->fin = header[0] & FIN;
    frame->opcode = header[0] & OPCODE;
    frame->length = extra ? big_endian(header + 2, extra) : length;
    if ((header[0] & RESERVED) || !(header[1] & MASKED) || !is_known(frame->opcode))
        return false;
    if (websocket_is_control(frame->opcode) && (!frame->fin || frame->length > WEBSOCKET_CONTROL_PAYLOAD_MAX))
        return false;
    if ((extra == 2 && frame->length < LENGTH_16) || (extra == 8 && frame->length <= UINT16_MAX) ||
        frame->length > INT64_MAX)
        return false;
    memcpy(frame->mask, header + 2 + extra, sizeof frame->mask);
    return true;
}

size_t websocket_frame_encode(uint8_t header[WEBSOCKET_HEADER_MAX], uint8_t opcode, uint64_t length)
{
    unsigned extra = length < LENGTH_16 ? 0 : length <= UINT16_MAX ? 2 : 8;
    header[0] = FIN | opcode;
    header[1] = (uint8_t)(extra == 0 ? length : extra == 2 ? LENGTH_16 : LENGTH_64);
    for (unsigned i = 0; i < extra; i++)
        header[2 + i] = (uint8_t)(length >> (8 * (extra - 1 - i)));
    return 2 + extra;
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
