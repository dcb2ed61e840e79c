/*
 * Frames of RFC 6455, section 5.2, by wslay: it reads the headers, holds them to its rules (lengths in as few bytes as
 * they need, control frames whole and short) and writes ours. Here are the rules that it leaves to its caller: masked,
 * no reserved bit, a known opcode, and what a close may say.
 *
 * The payload does not go through wslay but is unmasked here, eight bytes at a time: wslay does it byte by byte, in
 * pieces of 4 KiB. The daemon's CPU for each GB of a browser's image over wss, against frames taken apart by hand
 * (bench/browser, seq, native client, in turns; the median of the pairs' ratios, the number of pairs; wslay 1.1.1,
 * x86-64):
 *
 *                                         0 ms                         50 ms
 *   all through wslay                     1.81 (5; 4.9 s, not 2.5)     1.67 (6; 5.1 s, not 3.1)
 *   its headers, our unmasking            0.98 (11)                    1.00 (4)
 */
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
/* Decodes a whole header from a client; false if it breaks a rule. */
bool websocket_frame_decode(const uint8_t *header, size_t size, struct websocket_frame *frame);
/* The unmasked header of a whole message or control frame; returns its size, 0 if there is no such frame. */
size_t websocket_frame_encode(uint8_t header[WEBSOCKET_HEADER_MAX], uint8_t opcode, uint64_t length);
/* Copies and unmasks; `at` is the position of the first byte in the frame's payload. */
void websocket_unmask(uint8_t *to, const uint8_t *from, size_t length, const uint8_t mask[4], uint64_t at);

bool websocket_is_control(uint8_t opcode);
bool websocket_is_sendable_code(unsigned code); /* RFC 6455, section 7.4 */
bool websocket_is_utf8(const uint8_t *text, size_t length);

#endif
