/*
 * The HTTP server against any client: no crash, no leak, the loop closes empty,
 * and any split of the input gives the same answers. The first byte of the
 * input is the size of the pieces it is cut into.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/http/http_rig.h"
#include "base/log.h"
#include "fuzz_loop.h"

#define OUTPUT_SIZE (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t play(const uint8_t *data, size_t size, size_t split, char *output)
{
    struct http_rig rig;
    http_rig_begin_in_memory(&rig, fuzz_loop());
    size_t length = http_rig_talk(&rig, data, size, split, output, OUTPUT_SIZE);
    http_rig_end(&rig);
    fuzz_loop_must_be_empty();
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char whole[OUTPUT_SIZE], split[OUTPUT_SIZE];
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR - 1);
    if (size < 2 || size > 4096)
        return 0;
    size_t length = play(data + 1, size - 1, 0, whole), again = play(data + 1, size - 1, data[0] % 64 + 1u, split);
    if (length + 1 >= OUTPUT_SIZE - 4096 || again + 1 >= OUTPUT_SIZE - 4096)
        return 0;
    if (length != again || memcmp(whole, split, length) != 0)
        abort();
    return 0;
}
