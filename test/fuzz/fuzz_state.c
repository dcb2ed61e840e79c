/* state.json of the process before this one: whatever is in it, entries are whole, and no more than there can be. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state state = {.found = NULL};
    json_error_t error;
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR - 1);
    json_t *root = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &error);
    if (root)
        state_take(&state, root);
    json_decref(root);
    must(state.found_count <= CONFIG_SLOTS_MAX);
    for (unsigned i = 0; i < state.found_count; i++) {
        struct slot_media *media = &state.found[i];
        must(media->url && strlen(media->slot) < sizeof media->slot && state_find(&state, media->slot));
        slot_media_clear(media);
    }
    mem_free(state.found);
    return 0;
}
