#include "ctl/ctl_usage.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WAY_BETWEEN " | "

/* SLOT; a word with a small letter, as Once, stands for itself. */
static bool is_meta(const char *word)
{
    for (; *word; word++)
        if (islower((unsigned char)*word) || *word == '-')
            return false;
    return true;
}

/* The length of what is in the brackets that open at `text`. */
static size_t bracketed(const char *text)
{
    int depth = 0;
    size_t i = 0;
    for (; text[i]; i++) {
        depth += (text[i] == '[') - (text[i] == ']');
        if (depth == 0)
            break;
    }
    return i;
}

/* "user=U", "reset[=TYPE]", "dry-run", "--keep": false, "SLOT" and "Once|Continuous" are none. */
static bool read_option(const char *text, size_t length, struct ctl_option *option)
{
    char copy[CTL_WORD_MAX * 3];
    if (length >= sizeof copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    char *equals = strchr(copy, '=');
    size_t name = strcspn(copy, "=[");
    *option = (struct ctl_option){.kind = !equals ? CTL_FLAG : copy[name] == '[' ? CTL_VALUE_OR_NONE : CTL_VALUE};
    option->dashed = strncmp(copy, "--", 2) == 0;
    const char *from = copy + (option->dashed ? 2 : 0);
    snprintf(option->name, sizeof option->name, "%.*s", (int)(name - (size_t)(from - copy)), from);
    if (equals)
        snprintf(option->value, sizeof option->value, "%.*s", (int)strcspn(equals + 1, "]"), equals + 1);
    return !strchr(option->name, '|') && !is_meta(option->name) && !isupper((unsigned char)*option->name);
}

bool ctl_usage_next_option(const char **usage, struct ctl_option *option)
{
    for (const char *at = *usage; (at = strchr(at, '['));) {
        size_t length = bracketed(at);
        bool found = length > 1 && at[length] && read_option(at + 1, length - 1, option);
        at += length;
        *usage = at;
        if (found)
            return true;
    }
    return false;
}

bool ctl_usage_find_option(const char *usage, const char *name, size_t length, struct ctl_option *option)
{
    while (ctl_usage_next_option(&usage, option))
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return true;
    return false;
}

/* --- places --- */

/* The next word of a way, without brackets; options are passed over. False: the way has ended. */
static bool next_place(const char **way, char place[CTL_WORD_MAX * 2])
{
    struct ctl_option option;
    for (;;) {
        const char *from = *way + strspn(*way, " ");
        if (!*from || *from == '|')
            return false;
        bool optional = *from == '[';
        size_t length = optional ? bracketed(from) + 1 : strcspn(from, " ");
        *way = from + length;
        if (optional && read_option(from + 1, length - 2, &option))
            continue;
        snprintf(place, CTL_WORD_MAX * 2, "%.*s", (int)(optional ? length - 2 : length), from + optional);
        return true;
    }
}

struct match {
    const char *word;
    bool found;
};

static void match_word(void *arg, const char *word)
{
    struct match *match = arg;
    match->found = match->found || strcmp(word, match->word) == 0;
}

static void match_meta(void *arg, const char *word)
{
    struct match *match = arg;
    (void)word;
    match->found = true;
}

static bool place_takes(const char *place, const char *word)
{
    struct match match = {.word = word};
    ctl_usage_split(place, match_word, match_meta, &match);
    return match.found;
}

void ctl_usage_place(const char *usage, int count, char **words, void (*may)(void *arg, const char *alternatives), void *arg)
{
    for (const char *way = usage; way; way = strstr(way, WAY_BETWEEN), way = way ? way + strlen(WAY_BETWEEN) : NULL) {
        const char *at = way;
        char place[CTL_WORD_MAX * 2];
        bool goes = next_place(&at, place); /* the command's name */
        for (int i = 0; i < count && goes; i++)
            goes = next_place(&at, place) && place_takes(place, words[i]);
        if (goes && next_place(&at, place))
            may(arg, place);
    }
}

void ctl_usage_split(const char *alternatives, void (*each)(void *arg, const char *word), void (*meta)(void *arg, const char *word),
                     void *arg)
{
    while (*alternatives) {
        char word[CTL_WORD_MAX];
        size_t length = strcspn(alternatives, "|");
        snprintf(word, sizeof word, "%.*s", (int)length, alternatives);
        (is_meta(word) ? meta : each)(arg, word);
        alternatives += length + (alternatives[length] == '|');
    }
}
