/* What a hook answers to `get`: lines of a key and its values. See host/hook.h. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "host/hook.h"

#define BLANKS " \t\r"

/* Each takes one value of its key; false: it is none. */
typedef bool take_value(struct host_state *state, const char *value, unsigned nth);

static bool take_power(struct host_state *state, const char *value, unsigned nth)
{
    return nth == 0 && host_power_parse(value, &state->power);
}

static bool take_boot(struct host_state *state, const char *value, unsigned nth)
{
    state->boot_told = true;
    return (nth == 0 && host_target_parse(value, &state->boot.target)) ||
           (nth == 1 && host_enabled_parse(value, &state->boot.enabled)) ||
           (nth == 2 && host_mode_parse(value, &state->boot.mode));
}

static bool take_reset(struct host_state *state, const char *value, unsigned nth)
{
    enum host_reset reset;
    (void)nth;
    if (!host_reset_parse(value, &reset))
        return false;
    state->resets |= 1u << reset;
    return true;
}

static bool take_target(struct host_state *state, const char *value, unsigned nth)
{
    enum host_target target;
    (void)nth;
    if (!host_target_parse(value, &target))
        return false;
    state->targets |= 1u << target;
    return true;
}

static bool hook_answer_take_mode(struct host_state *state, const char *value, unsigned nth)
{
    enum host_mode mode;
    (void)nth;
    if (!host_mode_parse(value, &mode))
        return false;
    state->modes |= 1u << mode;
    return true;
}

/* One word of printable ASCII. */
static bool take_fact(char to[HOST_FACT_MAX], const char *value, unsigned nth)
{
    bool good = nth == 0 && strlen(value) < HOST_FACT_MAX;
    for (const char *c = value; *c && good; c++)
        good = *c > ' ' && *c <= '~';
    if (good)
        strcpy(to, value);
    return good;
}

static bool take_serial(struct host_state *state, const char *value, unsigned nth)
{
    return take_fact(state->serial, value, nth);
}

static bool take_uuid(struct host_state *state, const char *value, unsigned nth)
{
    return take_fact(state->uuid, value, nth);
}

static bool take_mac(struct host_state *state, const char *value, unsigned nth)
{
    return take_fact(state->mac, value, nth);
}

static const struct {
    const char *key;
    unsigned least; /* values */
    take_value *take;
} keys[] = {
    {"PowerState", 1, take_power},           {"Boot", 2, take_boot},
    {"ResetTypes", 0, take_reset},           {"BootTargets", 0, take_target},
    {"BootModes", 0, hook_answer_take_mode}, {"SerialNumber", 1, take_serial},
    {"UUID", 1, take_uuid},                  {"MACAddress", 1, take_mac},
};

static bool hook_answer_wrong(char error[HOST_ERROR_MAX], const char *key, const char *value)
{
    char shown[64];
    text_escape(value, shown, sizeof shown);
    snprintf(error, HOST_ERROR_MAX, "the hook's answer has no good value in the line %s%s%s", key, *shown ? ": " : "",
             shown);
    return false;
}

/* A key that is not known is of another version. */
static bool hook_parse_line(char *line, struct host_state *state, char error[HOST_ERROR_MAX])
{
    char *rest, *word = strtok_r(line, BLANKS, &rest);
    size_t key = 0;
    unsigned count = 0;
    while (word && key < sizeof keys / sizeof *keys && strcmp(keys[key].key, word) != 0)
        key++;
    if (!word || key == sizeof keys / sizeof *keys)
        return true;
    while ((word = strtok_r(NULL, BLANKS, &rest)) != NULL)
        if (!keys[key].take(state, word, count++))
            return hook_answer_wrong(error, keys[key].key, word);
    return count >= keys[key].least || hook_answer_wrong(error, keys[key].key, "");
}

bool hook_answer_parse(char *text, struct host_state *state, char error[HOST_ERROR_MAX])
{
    char *rest;
    memset(state, 0, sizeof *state);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (!hook_parse_line(line, state, error))
            return false;
    return true;
}
