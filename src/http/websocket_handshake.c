/* From HTTP to WebSocket: see http/websocket.h and RFC 6455, section 4.2. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/websocket.h"

#define KEY_LENGTH 24 /* of 16 bytes in base64 */
#define VERSION    "13"

bool websocket_accept_key(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char bytes[KEY_LENGTH], hash[EVP_MAX_MD_SIZE];
    char text[KEY_LENGTH + sizeof guid];
    unsigned length;
    if (strlen(key) != KEY_LENGTH || strcmp(key + KEY_LENGTH - 2, "==") != 0 || strcspn(key, "=") != KEY_LENGTH - 2 ||
        EVP_DecodeBlock(bytes, (const unsigned char *)key, KEY_LENGTH) < 0)
        return false;
    snprintf(text, sizeof text, "%s%s", key, guid);
    if (EVP_Digest(text, strlen(text), hash, &length, EVP_sha1(), NULL) != 1)
        mem_exhausted();
    EVP_EncodeBlock((unsigned char *)accept, hash, (int)length);
    return true;
}

unsigned websocket_check(struct http_request *request)
{
    const char *key = http_field(request, "Sec-WebSocket-Key"), *version = http_field(request, "Sec-WebSocket-Version");
    char accept[WEBSOCKET_ACCEPT_SIZE];
    if (strcmp(request->method, "GET") != 0) {
        http_add_field(request, "Allow", "GET");
        return 405;
    }
    if (!request->upgrade || !http_field_has(request, "Upgrade", "websocket")) {
        http_add_field(request, "Upgrade", "websocket");
        return 426;
    }
    if (!version || strcmp(version, VERSION) != 0) {
        http_add_field(request, "Sec-WebSocket-Version", VERSION);
        return 426;
    }
    return key && websocket_accept_key(key, accept) && request->body_length == 0 ? 0 : 400;
}

bool websocket_offers(const struct http_request *request, const char *protocol)
{
    size_t length = strlen(protocol);
    const char *p;
    for (unsigned i = 0; (p = http_field_nth(request, "Sec-WebSocket-Protocol", i)) != NULL; i++) {
        while (*p) {
            p += strspn(p, " \t,");
            size_t word = strcspn(p, " \t,");
            if (word == length && length > 0 && memcmp(p, protocol, word) == 0)
                return true;
            p += word;
        }
    }
    return false;
}

/* The length of the authority without the port that the scheme has anyway. */
static size_t significant(const char *authority, const char *default_port)
{
    size_t length = strlen(authority), port = strlen(default_port);
    bool ends = length > port && strcmp(authority + length - port, default_port) == 0;
    return ends ? length - port : length;
}

bool websocket_origin_allowed(const char *origin, const char *host, bool tls, const char *const *allowed)
{
    for (; allowed && *allowed; allowed++)
        if (strcasecmp(*allowed, origin) == 0)
            return true;
    bool secure = strncasecmp(origin, "https://", 8) == 0;
    if (!secure && (tls || strncasecmp(origin, "http://", 7) != 0))
        return false;
    const char *authority = origin + (secure ? 8 : 7), *port = secure ? ":443" : ":80";
    size_t length = significant(authority, port);
    return length > 0 && significant(host, port) == length && strncasecmp(authority, host, length) == 0;
}

struct stream *websocket_upgrade(struct http_request *request, const char *protocol,
                                 const struct websocket_options *options)
{
    const char *key = http_field(request, "Sec-WebSocket-Key");
    char accept[WEBSOCKET_ACCEPT_SIZE];
    struct slices early;
    slices_init(&early);
    if (!key || !websocket_accept_key(key, accept) || (protocol && !websocket_offers(request, protocol))) {
        http_reply(request, 400, NULL, NULL, 0);
        return NULL;
    }
    http_add_field(request, "Sec-WebSocket-Accept", accept);
    if (protocol)
        http_add_field(request, "Sec-WebSocket-Protocol", protocol);
    struct stream *below = http_upgrade(request, "websocket", &early);
    return below ? websocket_stream_new(below, &early, options) : NULL;
}
