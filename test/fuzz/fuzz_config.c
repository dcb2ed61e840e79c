/* A configuration is refused with a message, or dumps to text that reads back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool parses(struct config *config, const char *text, char error[CONFIG_ERROR_MAX])
{
    return config_parse(config, "fuzz", text, error) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[CONFIG_ERROR_MAX] = "", *text = malloc(size + 1), *dump = NULL;
    struct config config, again;
    size_t dump_size;
    memcpy(text, data, size);
    text[size] = '\0';
    if (!parses(&config, text, error)) {
        if (strncmp(error, "fuzz:", 5) != 0)
            abort();
        free(text);
        return 0;
    }
    FILE *out = open_memstream(&dump, &dump_size);
    config_dump(&config, out);
    fclose(out);
    if (!parses(&again, dump, error) || again.slot_count != config.slot_count)
        abort();
    config_validate(&config, error);
    free(dump);
    free(text);
    config_free(&config);
    config_free(&again);
    return 0;
}
