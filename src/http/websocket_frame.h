/* Frames of RFC 6455, section 5.2: pure encoding and decoding. */
#ifndef HTTP_WEBSOCKET_FRAME_H
#define HTTP_WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBSOCKET_HEADER_MAX          14
#define WEBSOCKET_CONTROL_PAYLOAD_MAX 125

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

struct websocket_frame {
    bool fin;
    uint8_t opcode;
    uint64_t length;
    uint8_t mask[4];
};

/* How long the header is, as far as its first `have` bytes tell: more than `have` means go on. */
size_t websocket_header_size(const uint8_t *header, size_t have);
/* Of a whole header from a client; false if it breaks a rule. */
bool websocket_frame_decode(const uint8_t *header, struct websocket_frame *frame);
/* An unmasked header; returns its size. */
size_t websocket_frame_encode(uint8_t header[WEBSOCKET_HEADER_MAX], uint8_t opcode, uint64_t length);
/* Copies and unmasks; `at` is the position of the first byte in the frame's payload. */
void websocket_unmask(uint8_t *to, const uint8_t *from, size_t length, const uint8_t mask[4], uint64_t at);

bool websocket_is_control(uint8_t opcode);
bool websocket_is_sendable_code(unsigned code); /* RFC 6455, section 7.4 */
bool websocket_is_utf8(const uint8_t *text, size_t length);

#endif
