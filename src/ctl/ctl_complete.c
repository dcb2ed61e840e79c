#include "ctl/ctl_complete.h"

#include <stdio.h>
#include <string.h>

#include "api/control/command.h"
#include "base/text.h"
#include "ctl/ctl_usage.h"
#include "host/host.h"

struct completion {
    struct ctl_session *session;
    const struct control_command *command;
};

static void put_word(void *arg, const char *word)
{
    (void)arg;
    puts(word);
}

static void complete_names(void)
{
    for (const struct control_command *c = control_commands; c->name; c++)
        puts(c->name);
}

/* "On, ForceOn, ..." */
static void complete_list(char *names)
{
    char *rest;
    for (char *word = strtok_r(names, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest))
        puts(word);
}

static void put_meta(void *arg, const char *word)
{
    struct completion *c = arg;
    char names[HOST_TEXT_MAX];
    if (strcmp(word, "SLOT") == 0) {
        ctl_ask_slots(c->session, put_word, NULL);
    } else if (strcmp(word, "COMMAND") == 0) {
        complete_names();
    } else if (strcmp(word, "URL") == 0 || strcmp(word, "FILE") == 0) {
        puts(CTL_COMPLETE_FILES);
    } else if (strcmp(word, "TYPE") == 0) {
        host_reset_names(names);
        complete_list(names);
    } else if (strcmp(word, "TARGET") == 0) {
        host_target_names(names);
        complete_list(names);
    }
}

static void put_place(void *arg, const char *alternatives)
{
    ctl_usage_split(alternatives, put_word, put_meta, arg);
}

static void put_options(const struct control_command *command)
{
    const char *usage = command->usage;
    struct ctl_option option;
    while (ctl_usage_next_option(&usage, &option)) {
        printf("--%s\n", option.name);
        if (strcmp(option.name, "password") == 0 || strcmp(option.name, "bearer-token") == 0)
            printf("--%s-file\n", option.name);
    }
    puts("--json");
}

/* The option before the last word, if that is its value. */
static bool put_value(struct completion *c, const char *before)
{
    struct ctl_option option;
    size_t length = strlen(before);
    if (strncmp(before, "--", 2) != 0)
        return false;
    if (length > 7 && strcmp(before + length - 5, "-file") == 0 &&
        ctl_usage_find_option(c->command->usage, before + 2, length - 7, &option)) {
        puts(CTL_COMPLETE_FILES);
        return true;
    }
    bool found = ctl_usage_find_option(c->command->usage, before + 2, length - 2, &option) && option.kind == CTL_VALUE;
    if (found)
        ctl_usage_split(option.value, put_word, put_meta, c);
    return found;
}

/* The words that are no options and no values of one: their number. */
static int plain_words(const struct control_command *command, int count, char **words, char **plain)
{
    int left = 0;
    for (int i = 0; i < count; i++) {
        struct ctl_option option;
        const char *name = words[i] + 2;
        if (strncmp(words[i], "--", 2) != 0)
            plain[left++] = words[i];
        else if (ctl_usage_find_option(command->usage, name, strlen(name), &option) && option.kind == CTL_VALUE)
            i++;
    }
    return left;
}

static void put_places(struct completion *c, int count, char **words)
{
    char **plain = mem_alloc((size_t)count * sizeof *plain);
    int left = plain_words(c->command, count, words, plain);
    ctl_usage_place(c->command->usage, left, plain, put_place, c);
    mem_free(plain);
}

static void complete_command(struct completion *c, int count, char **words)
{
    const char *last = words[count - 1];
    if (count > 1 && put_value(c, words[count - 2]))
        return;
    if (*last == '-')
        put_options(c->command);
    else
        put_places(c, count - 1, words);
}

void ctl_complete(struct ctl_session *session, int count, char **words, const char *const *options)
{
    struct completion c = {.session = session};
    if (count > 1 && (c.command = control_find_command(words[0])))
        complete_command(&c, count - 1, words + 1);
    if (count != 1)
        return;
    if (**words != '-')
        complete_names();
    for (; **words == '-' && *options; options++)
        puts(*options);
}
