#include "api/host_words.h"

#include "host/host.h"

static const char *reset_word(unsigned value)
{
    return host_reset_name((enum host_reset)value);
}

static const char *target_word(unsigned value)
{
    return host_target_name((enum host_target)value);
}

static const char *enabled_word(unsigned value)
{
    return host_enabled_name((enum host_enabled)value);
}

static const char *mode_word(unsigned value)
{
    return host_mode_name((enum host_mode)value);
}

static json_t *words_of(unsigned mask, unsigned count, const char *(*word)(unsigned value))
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++)
        if (mask & 1u << i)
            json_array_append_new(list, json_string(word(i)));
    return list;
}

json_t *api_host_resets(unsigned mask)
{
    return words_of(mask, HOST_RESETS, reset_word);
}

json_t *api_host_targets(unsigned mask)
{
    return words_of(mask, HOST_TARGETS, target_word);
}

json_t *api_host_enableds(void)
{
    return words_of(~0u, HOST_ENABLEDS, enabled_word);
}

json_t *api_host_modes(unsigned mask)
{
    return words_of(mask, HOST_MODES, mode_word);
}
