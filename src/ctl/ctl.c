#include "ctl/ctl.h"

#include <build-config.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/control/control.h"
#include "base/log.h"
#include "base/text.h"
#include "ctl/ctl_ask.h"
#include "ctl/ctl_complete.h"
#include "ctl/ctl_show.h"

#define CTL_CONFIG SYSCONFDIR "/nbd-proxy.conf"
#define SETS_MAX   64

struct ctl_arguments {
    const char *file, *socket;
    const char *sets[SETS_MAX];
    unsigned set_count;
    bool given, json, complete; /* given: the configuration was named */
    enum ctl_colours colours;
};

enum ctl_long_option { OPT_NO_CONFIG = 256, OPT_SET, OPT_SOCKET, OPT_JSON, OPT_COLOUR };

static const struct option ctl_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"no-config", no_argument, NULL, OPT_NO_CONFIG},
    {"set", required_argument, NULL, OPT_SET},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"json", no_argument, NULL, OPT_JSON},
    {"color", required_argument, NULL, OPT_COLOUR},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const char *const option_words[] = {"--config", "--no-config", "--set",     "--socket", "--json",
                                           "--color",  "--help",      "--version", NULL};

static void ctl_print_help(void)
{
    puts("usage: " CTL_PROGRAM " [OPTION]... [COMMAND [WORD]...]\n"
         "       nbd-proxy ctl [OPTION]... [COMMAND [WORD]...]\n"
         "Gives the running daemon a command: insert, eject, status, watch, ... Without one\n"
         "they are read from the terminal, or from stdin; \"help\" lists them. What a command\n"
         "takes as user=bob it takes as --user bob too.\n\n"
         "  -c, --config=FILE     the daemon's configuration, which says where its socket is\n"
         "                        (" CTL_CONFIG ")\n"
         "      --no-config       it has none\n"
         "      --set=KEY=VALUE   it was started with that, as daemon.runtime-dir=/tmp/x\n"
         "      --socket=PATH     the control socket\n"
         "      --json            answers are JSON\n"
         "      --color=WHEN      auto, always or never\n"
         "  -V, --version         prints the version and exits\n"
         "  -h, --help            prints this and exits\n\n"
         "See nbd-proxyctl(1) and nbd-proxy-control(7).");
}

static int ctl_usage_error(const char *text)
{
    fprintf(stderr, CTL_PROGRAM ": %s (try: " CTL_PROGRAM " --help)\n", text);
    return CTL_USAGE;
}

static int read_colour(struct ctl_arguments *a)
{
    static const char *const words[] = {"auto", "always", "never"};
    for (int i = 0; i < 3; i++)
        if (strcmp(optarg, words[i]) == 0) {
            a->colours = (enum ctl_colours)i;
            return -1;
        }
    return ctl_usage_error("--color: expected auto, always or never");
}

/* -1: go on; else the exit code. */
static int ctl_take_option(struct ctl_arguments *a, int letter)
{
    switch (letter) {
    case 'c':
    case OPT_NO_CONFIG:
        a->file = letter == 'c' ? optarg : NULL;
        a->given = true;
        return -1;
    case OPT_SET:
        if (a->set_count == SETS_MAX)
            return ctl_usage_error("there are too many --set");
        a->sets[a->set_count++] = optarg;
        return -1;
    case OPT_SOCKET:
        a->socket = optarg;
        return -1;
    case OPT_JSON:
        a->json = true;
        return -1;
    case OPT_COLOUR:
        return read_colour(a);
    case 'V':
        puts(CTL_PROGRAM " " PACKAGE_VERSION);
        return CTL_OK;
    case 'h':
        ctl_print_help();
        return CTL_OK;
    default:
        if (a->complete)
            puts(CTL_COMPLETE_FILES); /* it lacks its value, which is a file in most of them */
        return a->complete ? CTL_OK : ctl_usage_error("unknown option, or one without its value");
    }
}

/* Options end at the command, whose words may begin with dashes too. */
static int ctl_read_arguments(struct ctl_arguments *a, int argc, char **argv)
{
    int letter, code = -1;
    opterr = 0;
    optind = 1;
    while (code < 0 && (letter = getopt_long(argc, argv, "+c:Vh", ctl_options, NULL)) != -1)
        code = ctl_take_option(a, letter);
    return code;
}

/* --- secrets: for the daemon, not for who looks at the list of processes --- */

static bool is_json(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

/* What is to be hidden of a word: a password, a token, or what JSON has of a machine. */
static char *secret_of(char *word, const char *before)
{
    const char *name = word + strspn(word, "-");
    char *equals = strchr(word, '=');
    bool named = strncmp(name, "password=", 9) == 0 || strncmp(name, "bearer-token=", 13) == 0;
    if (strcmp(before, "--password") == 0 || strcmp(before, "--bearer-token") == 0 || is_json(word))
        return word;
    return equals && (named || is_json(equals + 1)) ? equals + 1 : word + strlen(word);
}

static void hide_words(int count, char **words, char *copies[])
{
    for (int i = 0; i < count; i++) {
        copies[i] = mem_strdup(words[i]);
        char *from = secret_of(words[i], i > 0 ? copies[i - 1] : "");
        memset(from, '*', strlen(from));
    }
}

/* Once they were read. */
static void hide_values(const struct ctl_arguments *a)
{
    for (unsigned i = 0; i < a->set_count; i++) {
        char *equals = strchr(a->sets[i], '=');
        if (equals)
            memset(equals + 1, '*', strlen(equals + 1));
    }
}

/* --- where the daemon is --- */

/* Who may not read the installed configuration, which holds secrets, finds the socket where it is by default; so does who has
 * none. */
static bool read_config(const struct ctl_arguments *a, struct config *config, char error[CTL_ERROR_MAX])
{
    bool installed = !a->given;
    if (!a->file || (installed && access(a->file, R_OK) != 0))
        config_default(config);
    else if (config_load(config, a->file, false, error) != 0)
        return false;
    for (unsigned i = 0; i < a->set_count; i++)
        if (config_set(config, a->sets[i], error) != 0) {
            config_free(config);
            return false;
        }
    return true;
}

static bool find_socket(const struct ctl_arguments *a, char path[CTL_PATH_MAX], char error[CTL_ERROR_MAX])
{
    struct config config;
    if (a->socket) {
        snprintf(path, CTL_PATH_MAX, "%s", a->socket);
        return true;
    }
    if (!read_config(a, &config, error))
        return false;
    char *found = control_socket_path(&config);
    snprintf(path, CTL_PATH_MAX, "%s", found);
    mem_free(found);
    config_free(&config);
    return true;
}

/* "--complete WORD...": the last one is not finished, and no option yet. */
static bool take_complete(struct ctl_arguments *a, int *argc, char ***argv)
{
    *a = (struct ctl_arguments){.file = CTL_CONFIG};
    a->complete = *argc > 2 && strcmp((*argv)[1], "--complete") == 0;
    *argc -= a->complete;
    *argv += a->complete;
    return a->complete;
}

static int ctl_run(const struct ctl_arguments *a, struct ctl_session *session, int count, char **words)
{
    if (a->complete)
        ctl_complete(session, count, words, option_words);
    else
        return count > 0 ? ctl_ask(session, count, words) : ctl_ask_all(session);
    return CTL_OK;
}

int ctl_command(int argc, char **argv)
{
    struct ctl_arguments arguments;
    struct ctl_session session = {.connection.fd = -1};
    char error[CTL_ERROR_MAX];
    bool unfinished = take_complete(&arguments, &argc, &argv);
    int code = ctl_read_arguments(&arguments, argc - unfinished, argv);
    if (code >= 0)
        return code;
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR); /* what the daemon warns of at its start is not ours */
    signal(SIGPIPE, SIG_DFL); /* a watch ends with who reads it */
    ctl_show_setup(arguments.colours);
    session.json = arguments.json;
    bool found = find_socket(&arguments, session.connection.path, error);
    hide_values(&arguments);
    if (!found) {
        ctl_show_error(error);
        return CTL_USAGE;
    }
    int count = argc - optind;
    char **copies = mem_alloc(((size_t)count + 1) * sizeof *copies);
    hide_words(count, argv + optind, copies);
    code = ctl_run(&arguments, &session, count, copies);
    ctl_disconnect(&session.connection);
    for (int i = 0; i < count; i++)
        mem_free_secret(copies[i]);
    mem_free(copies);
    return code;
}
