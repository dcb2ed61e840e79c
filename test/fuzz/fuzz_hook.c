/* A hook's answer: what is accepted can be written as lines, and read back to the same. */
#include <stdlib.h>
#include <string.h>

#include "host/hook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct host_state state, again;
    char error[HOST_ERROR_MAX], one[HOST_TEXT_MAX], two[HOST_TEXT_MAX], *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    if (hook_answer_parse(text, &state, error)) {
        host_state_text(&state, one);
        memcpy(two, one, sizeof two);
        if (!hook_answer_parse(two, &again, error))
            abort();
        host_state_text(&again, two);
        if (strcmp(one, two) != 0)
            abort();
    }
    free(text);
    return 0;
}
