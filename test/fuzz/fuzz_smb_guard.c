/*
 * Answers of a file server: what passes lies in its message. The input is a byte that says what was asked and agreed
 * before, and the message; it is given piece by piece, as it comes from a socket.
 */
#include <stdlib.h>
#include <string.h>

#include "remote/smb/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct smb_guard *guard, uint16_t command)
{
    uint8_t request[72] = "\xfeSMB";
    request[12] = (uint8_t)command;
    request[24] = 1;
    request[64 + 5] = 0x10; /* of a READ: 4096 bytes */
    smb_guard_request(guard, request, sizeof request);
}

/* In memory of its own size, so that looking beyond it shows. */
static enum smb_guard_verdict give(struct smb_guard *guard, const uint8_t *data, size_t have, size_t length)
{
    uint8_t *copy = malloc(have ? have : 1);
    memcpy(copy, data, have);
    enum smb_guard_verdict verdict = smb_guard_answer(guard, copy, have, length);
    free(copy);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t commands[] = {0, 1, 3, 5, 8, 16};
    static struct smb_guard guard;
    if (size < 1)
        return 0;
    size_t length = size - 1, head = length < SMB_GUARD_HEAD ? length : SMB_GUARD_HEAD;
    smb_guard_init(&guard, data[0] & 0x80, data[0] & 0x40);
    ask(&guard, commands[(data[0] & 7) % 6]);
    guard.session = data[0] & 0x20;
    guard.sealed = data[0] & 0x10;
    guard.dialect = data[0] & 8 ? 0x0311 : 0x0210;
    enum smb_guard_verdict verdict = give(&guard, data + 1, head, length);
    if (verdict == SMB_GUARD_WHOLE && head < length)
        verdict = give(&guard, data + 1, length, length);
    if (verdict == SMB_GUARD_WHOLE || (verdict == SMB_GUARD_REFUSE && !*guard.error))
        abort();
    return 0;
}
