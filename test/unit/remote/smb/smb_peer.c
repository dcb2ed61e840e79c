#include "smb_peer.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../loopback.h"

#define HEADER  64
#define SESSION 0x77
#define TREE    5

enum { NEGOTIATE = 0, SESSION_SETUP = 1, TREE_CONNECT = 3, CREATE = 5, READ = 8, QUERY_INFO = 16 };

#define MORE_PROCESSING 0xc0000016u
#define END_OF_FILE     0xc0000011u
#define NOT_SUPPORTED   0xc00000bbu

char smb_peer_url[96];
atomic_uint smb_peer_trouble, smb_peer_version;
void (*_Atomic smb_peer_lie)(struct smb_peer_answer *answer);

static const unsigned char *file;
static uint64_t file_size;
static atomic_uint reads;

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)p[i] << 8 * i;
    return value;
}

/* --- answers: each fills a body, and gives its bytes --- */

static size_t answer_negotiate(uint8_t *body)
{
    put(body, 65, 2);
    put(body + 2, 1, 2);
    put(body + 4, 0x0210, 2);
    put(body + 24, 4, 4);
    for (unsigned i = 28; i < 40; i += 4)
        put(body + i, 1 << 20, 4);
    put(body + 56, HEADER + 64, 2);
    return 64;
}

static size_t answer_session_setup(uint8_t *body, bool again, uint32_t *status)
{
    uint8_t *token = body + 8;
    put(body, 9, 2);
    put(body + 2, again, 2); /* a guest's session */
    put(body + 4, HEADER + 8, 2);
    if (again)
        return 8;
    *status = MORE_PROCESSING;
    put(body + 6, 52, 2);
    memcpy(token, "NTLMSSP", 8);
    put(token + 8, 2, 4);
    put(token + 16, 48, 4);
    put(token + 20, 0x00800205, 4);
    put(token + 40, 4 | 4 << 16, 4);
    put(token + 44, 48, 4);
    return 8 + 52;
}

static size_t answer_create(uint8_t *body)
{
    put(body, 89, 2);
    put(body + 4, 1, 4);
    put(body + 48, file_size, 8);
    put(body + 56, 0x80, 4);
    memset(body + 64, 0x42, 16);
    return 88;
}

static size_t answer_query(uint8_t *body, unsigned class)
{
    size_t length = class == 0x22 ? 56 : 8;
    put(body, 9, 2);
    put(body + 2, HEADER + 8, 2);
    put(body + 4, length, 4);
    put(body + 8, 0x4711, 8);
    if (class == 0x22) {
        put(body + 8 + 16, 133000000000000000 + smb_peer_version * 10000000ull, 8);
        put(body + 8 + 24, 133000000000000000, 8);
        put(body + 8 + 40, file_size, 8);
    }
    return 8 + length;
}

static size_t answer_error(uint8_t *body, uint32_t *status, uint32_t error)
{
    *status = error;
    put(body, 9, 2);
    return 9;
}

/* 0: hang up. */
static size_t answer_read(uint8_t *body, const uint8_t *request, uint32_t *status)
{
    uint64_t length = get(request + 4, 4), offset = get(request + 8, 8);
    unsigned every = smb_peer_trouble, number = ++reads;
    if (every && number % every == 0)
        return 0;
    if (offset >= file_size)
        return answer_error(body, status, END_OF_FILE);
    if (length > file_size - offset)
        length = file_size - offset;
    if (every && number % 3 == 0 && length > 1)
        length /= 2;
    put(body, 17, 2);
    put(body + 2, HEADER + 16, 1);
    put(body + 4, length, 4);
    memcpy(body + 16, file + offset, length);
    return 16 + length;
}

static size_t answer_body(uint8_t *body, const uint8_t *request, uint16_t command, unsigned *setups, uint32_t *status)
{
    switch (command) {
    case NEGOTIATE:
        return answer_negotiate(body);
    case SESSION_SETUP:
        return answer_session_setup(body, (*setups)++ > 0, status);
    case TREE_CONNECT:
        put(body, 16, 2);
        put(body + 2, 1, 1);
        return 16;
    case CREATE:
        return answer_create(body);
    case QUERY_INFO:
        return answer_query(body, request[3]);
    case READ:
        return answer_read(body, request, status);
    default:
        return answer_error(body, status, NOT_SUPPORTED);
    }
}

static bool answer(int fd, const uint8_t *request, uint8_t *message, unsigned *setups)
{
    struct smb_peer_answer answer = {.command = (uint16_t)get(request + 12, 2), .message = message};
    uint32_t status = 0, prefix;
    memset(message, 0, HEADER + 256);
    size_t body = answer_body(message + HEADER, request + HEADER, answer.command, setups, &status);
    if (body == 0)
        return false;
    memcpy(message, "\xfeSMB", 4);
    put(message + 4, HEADER, 2);
    put(message + 8, status, 4);
    put(message + 12, answer.command, 2);
    put(message + 14, 64, 2);
    put(message + 16, 1, 4);
    memcpy(message + 24, request + 24, 8);
    put(message + 36, answer.command >= TREE_CONNECT ? TREE : 0, 4);
    put(message + 40, answer.command >= SESSION_SETUP ? SESSION : 0, 8);
    answer.length = HEADER + body;
    void (*lie)(struct smb_peer_answer *) = smb_peer_lie;
    if (lie)
        lie(&answer);
    prefix = htonl((uint32_t)answer.length);
    return loopback_send(fd, &prefix, sizeof prefix) && loopback_send(fd, message, answer.length);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    uint8_t request[4096], *message = calloc(1, SMB_PEER_MESSAGE_MAX);
    unsigned setups = 0;
    uint32_t length;
    while (loopback_receive(fd, &length, sizeof length)) {
        length = ntohl(length);
        if (length < HEADER || length > sizeof request || !loopback_receive(fd, request, length) ||
            !answer(fd, request, message, &setups))
            break;
    }
    close(fd);
    free(message);
    return NULL;
}

int smb_peer_start(const unsigned char *content, uint64_t size)
{
    file = content;
    file_size = size;
    uint16_t port = loopback_start(serve);
    snprintf(smb_peer_url, sizeof smb_peer_url, "smb://127.0.0.1:%u/share/folder/image", port);
    return port ? 0 : -1;
}

int smb_peer_stop(void)
{
    return loopback_stop();
}
