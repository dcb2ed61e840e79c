/* The control socket's words stay inside their line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/control/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = malloc(size + 1), *words[WORDS_MAX];
    const char *problem = NULL;
    memcpy(line, data, size);
    line[size] = '\0';
    int count = words_split(line, words, &problem);
    if (count > WORDS_MAX || (count < 0) != (problem != NULL))
        abort();
    for (int i = 0; i < count; i++)
        if (words[i] < line || words[i] + strlen(words[i]) > line + size)
            abort();
    free(line);
    return 0;
}
