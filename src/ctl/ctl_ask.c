#include "ctl/ctl_ask.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/control/command.h"
#include "api/control/words.h"
#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/ctl_line.h"
#include "ctl/ctl_show.h"
#include "ctl/ctl_watch.h"

static int ask_failed(const struct ctl_session *s, int code, const char *error)
{
    json_t *value = s->json ? json_pack("{s:s%}", "error", error, strlen(error)) : NULL;
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (text)
        puts(text);
    else
        ctl_show_error(error);
    mem_free(text);
    json_decref(value);
    return code;
}

static bool is_last(const char *line)
{
    return strcmp(line, "ok") == 0 || strncmp(line, "ok: ", 4) == 0 || strncmp(line, "error: ", 7) == 0;
}

static int show_last(const struct ctl_session *s, const char *line, bool json)
{
    bool refused = *line == 'e';
    const char *text = strchr(line, ' ');
    if (refused && !json)
        ctl_show_error(text + 1);
    else if (text && !json)
        printf("%s%s%s\n", s->interactive ? ctl_green() : "", text + 1, s->interactive ? ctl_plain() : "");
    return refused ? CTL_REFUSED : CTL_OK;
}

static int show_answer(struct ctl_session *s, const struct ctl_line *line, bool live)
{
    bool any = false, json = line->json || s->json;
    char *text = live ? ctl_watch(&s->connection) : ctl_receive(&s->connection);
    for (; text && !is_last(text); text = ctl_receive(&s->connection)) {
        any = true;
        (json ? ctl_show_json : ctl_show_line)(text);
        fflush(stdout); /* who reads a watch wants each line */
    }
    if (text)
        return show_last(s, text, json);
    ctl_disconnect(&s->connection);
    return any || live ? ask_failed(s, CTL_LOST, "the daemon has gone before it had answered")
                       : ask_failed(s, CTL_UNREACHABLE, "the daemon hung up: it serves root, its own user and control-group, and "
                                                        "control-connections at a time (its log says more)");
}

/* "quit" is for the daemon, and a habit of those who want to leave the prompt. */
static bool means_it(const struct ctl_session *s, const struct ctl_line *line)
{
    char answer[16] = "";
    if (!s->interactive || strcmp(line->name, "quit") != 0)
        return true;
    printf("This stops the daemon (\"exit\" leaves this prompt). Stop it? [y/N] ");
    fflush(stdout);
    bool yes = fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y');
    if (yes)
        return true;
    puts("It goes on.");
    return false;
}

/* Without the daemon, which says the same. */
static int show_help(int count, char **words)
{
    for (const struct control_command *c = control_commands; c->name; c++)
        if (count < 2 || strcmp(c->name, words[1]) == 0)
            printf("%s%s%s\n    %s\n", ctl_bold(), c->usage, ctl_plain(), c->help);
    if (count < 2)
        puts("    What is NAME=VALUE may be given as --NAME VALUE too, and what is a word behind it as --WORD; a password also as\n"
             "    --password-file FILE. With --json the answer is JSON.");
    return CTL_OK;
}

static int ask_line(struct ctl_session *s, struct ctl_line *line)
{
    char error[CTL_ERROR_MAX];
    bool json = line->json || s->json;
    bool live = strcmp(line->name, "watch") == 0 && !json && isatty(STDOUT_FILENO);
    if (!means_it(s, line))
        return CTL_OK;
    if ((json || live) && !ctl_line_add(line, "--json"))
        return ask_failed(s, CTL_USAGE, "the command is too long");
    if (!ctl_connect(&s->connection, error))
        return ask_failed(s, CTL_UNREACHABLE, error);
    ctl_send(&s->connection, line->text); /* refused, there is still an answer, or the end */
    return show_answer(s, line, live);
}

int ctl_ask(struct ctl_session *s, int count, char **words)
{
    struct ctl_line line;
    char error[CTL_ERROR_MAX];
    bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    bool help = strcmp(words[0], "help") == 0 && !s->json && (count == 1 || (count == 2 && control_find_command(words[1])));
    if (help)
        return show_help(count, words);
    int code = ctl_line_make(&line, count, words, terminal, error) ? ask_line(s, &line) : ask_failed(s, CTL_USAGE, error);
    ctl_line_clear(&line);
    return code;
}

/* --- a prompt --- */

static bool read_line_of(const struct ctl_session *s, char line[CONTROL_LINE_MAX])
{
    if (s->interactive) {
        printf("%snbd-proxy>%s ", ctl_bold(), ctl_plain());
        fflush(stdout);
    }
    return fgets(line, CONTROL_LINE_MAX, stdin);
}

static void drop_rest(const char *line)
{
    int byte = strchr(line, '\n') ? '\n' : 0;
    while (byte != '\n' && byte != EOF)
        byte = getchar();
}

/* False: "exit". */
static bool run_typed(struct ctl_session *s, char *line, int *code)
{
    char *words[WORDS_MAX];
    const char *problem;
    bool whole = strchr(line, '\n') || feof(stdin);
    drop_rest(line);
    line[strcspn(line, "\r\n")] = '\0';
    int count = whole && *line != '#' ? words_split(line, words, &problem) : 0;
    if (!whole || count < 0)
        *code = ask_failed(s, CTL_USAGE, whole ? problem : "the line is too long");
    else if (count > 0 && strcmp(words[0], "exit") == 0)
        return false;
    else if (count > 0) {
        int one = ctl_ask(s, count, words);
        *code = one == CTL_OK ? *code : one;
    }
    return true;
}

int ctl_ask_all(struct ctl_session *s)
{
    char line[CONTROL_LINE_MAX];
    int code = CTL_OK;
    s->interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (s->interactive)
        puts("Commands of nbd-proxy; \"help\" lists them, \"exit\" or Ctrl-D leaves.");
    while (read_line_of(s, line) && run_typed(s, line, &code))
        continue;
    if (s->interactive && feof(stdin))
        putchar('\n');
    explicit_bzero(line, sizeof line);
    return s->interactive ? CTL_OK : code;
}

/* --- for completion --- */

void ctl_ask_slots(struct ctl_session *s, void (*each)(void *arg, const char *name), void *arg)
{
    char error[CTL_ERROR_MAX], *line;
    if (!ctl_connect(&s->connection, error) || !ctl_send(&s->connection, "slots --json") ||
        !(line = ctl_receive(&s->connection)))
        return;
    json_t *answer = json_loads(line, 0, NULL), *slot;
    size_t i;
    json_array_foreach(json_object_get(answer, "slots"), i, slot) {
        const char *name = json_string_value(json_object_get(slot, "name"));
        if (name)
            each(arg, name);
    }
    json_decref(answer);
    ctl_disconnect(&s->connection);
}
