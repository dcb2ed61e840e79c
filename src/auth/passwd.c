#include "auth/passwd.h"

#include <build-config.h>
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/password.h"
#include "auth/prompt.h"
#include "auth/users_file.h"
#include "base/text.h"

#define EXIT_USAGE 2

struct passwd_arguments {
    const char *file, *name;
    int role, enabled; /* -1: as it is */
    unsigned min;
    bool remove, random, pam;
};

enum long_option { OPT_FILE = 256, OPT_ROLE, OPT_DELETE, OPT_ENABLE, OPT_DISABLE, OPT_RANDOM, OPT_PAM, OPT_MIN };

static const struct option options[] = {
    {"file", required_argument, NULL, OPT_FILE},
    {"role", required_argument, NULL, OPT_ROLE},
    {"delete", no_argument, NULL, OPT_DELETE},
    {"enable", no_argument, NULL, OPT_ENABLE},
    {"disable", no_argument, NULL, OPT_DISABLE},
    {"random", no_argument, NULL, OPT_RANDOM},
#ifdef HAVE_PAM
    {"pam", no_argument, NULL, OPT_PAM},
#endif
    {"min-length", required_argument, NULL, OPT_MIN},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static void passwd_print_help(void)
{
    puts("usage: nbd-proxy passwd [OPTION]... NAME\n"
         "Adds an account, or changes the password of one. It is asked for on the\n"
         "terminal, or is one line of stdin.\n\n"
         "      --file=FILE     the users file (" PASSWD_FILE ")\n"
         "      --role=ROLE     Administrator, Operator or ReadOnly. A new account is a\n"
         "                      ReadOnly one; the first of all is an Administrator\n"
         "      --random        makes a password up and prints it\n"
         "      --min-length=N  refuses shorter passwords (8)\n"
#ifdef HAVE_PAM
         "      --pam           the password is the system's, by PAM\n"
#endif
         "      --enable        lets the account log in again; asks no password\n"
         "      --disable       keeps it from logging in; asks no password\n"
         "      --delete        removes it\n"
         "  -h, --help          prints this and exits");
}

static int passwd_usage_error(const char *text)
{
    fprintf(stderr, "nbd-proxy passwd: %s (try: nbd-proxy passwd --help)\n", text);
    return EXIT_USAGE;
}

/* --- arguments --- */

static int parse_min(struct passwd_arguments *a)
{
    uint64_t value;
    if (!text_parse_uint(optarg, &value) || value < 1 || value > PASSWORD_MAX)
        return passwd_usage_error("--min-length is a number from 1 to 256");
    a->min = (unsigned)value;
    return -1;
}

static int parse_role(struct passwd_arguments *a)
{
    enum auth_role role;
    if (!auth_role_parse(optarg, &role))
        return passwd_usage_error("the role is Administrator, Operator or ReadOnly");
    a->role = (int)role;
    return -1;
}

/* -1: go on; else the exit code. */
static int passwd_parse_option(struct passwd_arguments *a, int letter)
{
    switch (letter) {
    case OPT_FILE:
        a->file = optarg;
        return -1;
    case OPT_ROLE:
        return parse_role(a);
    case OPT_MIN:
        return parse_min(a);
    case OPT_DELETE:
        a->remove = true;
        return -1;
    case OPT_ENABLE:
    case OPT_DISABLE:
        a->enabled = letter == OPT_ENABLE;
        return -1;
    case OPT_RANDOM:
        a->random = true;
        return -1;
    case OPT_PAM:
        a->pam = true;
        return -1;
    case 'h':
        passwd_print_help();
        return EXIT_SUCCESS;
    default:
        return passwd_usage_error("unknown option, or one without its value");
    }
}

static int passwd_parse_arguments(struct passwd_arguments *a, int argc, char **argv)
{
    int letter;
    opterr = 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int code = passwd_parse_option(a, letter);
        if (code >= 0)
            return code;
    }
    if (optind + 1 != argc)
        return passwd_usage_error("it takes one name");
    a->name = argv[optind];
    if (!user_name_valid(a->name))
        return passwd_usage_error("a name is 1 to 64 of A-Z a-z 0-9 . _ - @");
    if (a->remove && (a->random || a->pam || a->role >= 0 || a->enabled >= 0))
        return passwd_usage_error("--delete goes alone");
    if (a->enabled >= 0 && (a->random || a->pam))
        return passwd_usage_error("--enable and --disable ask no password");
    if (a->random && a->pam)
        return passwd_usage_error("--random and --pam exclude each other");
    return -1;
}

/* --- passwords --- */

static bool passwd_ask(const struct passwd_arguments *a, char *password, size_t size, const char **why)
{
    char again[PASSWORD_MAX + 1], prompt[USER_NAME_MAX + 32];
    snprintf(prompt, sizeof prompt, "New password for %s: ", a->name);
    if (!prompt_password(prompt, password, size, why))
        return false;
    if (!prompt_is_terminal())
        return true;
    bool same = prompt_password("Again: ", again, sizeof again, why);
    if (same && strcmp(password, again) != 0) {
        *why = "the two passwords differ";
        same = false;
    }
    explicit_bzero(again, sizeof again);
    return same;
}

/* The password's hash, from the terminal, stdin or chance. */
static bool make_hash(const struct passwd_arguments *a, char *shown, char hash[PASSWORD_HASH_MAX])
{
    char password[PASSWORD_MAX + 1] = "", refused[128];
    const char *why = NULL;
    if (a->random)
        password_random(password);
    else if (passwd_ask(a, password, sizeof password, &why) &&
             !password_allowed(password, a->min, refused, sizeof refused))
        why = refused;
    if (!why && !password_hash(password, 0, hash))
        why = "the password can't be hashed";
    if (why)
        fprintf(stderr, "nbd-proxy passwd: %s\n", why);
    else if (a->random)
        memcpy(shown, password, PASSWORD_RANDOM_LENGTH + 1);
    explicit_bzero(password, sizeof password);
    return !why;
}

/* --- the file --- */

/* The folder of the users file is the administrator's own; its parent must be there. */
static void make_folder(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    if (mkdir(dirname(copy), 0700) != 0 && errno != EEXIST)
        fprintf(stderr, "nbd-proxy passwd: %s: %s\n", copy, strerror(errno));
}

/* What is done to the account, before there is a password. */
static int plan(const struct passwd_arguments *a, struct users_edit *edit)
{
    struct users_table table;
    char error[USERS_ERROR_MAX];
    int status = users_load(a->file, &table, error);
    bool is_new = !users_table_find(&table, a->name);
    *edit = (struct users_edit){
        .op = is_new ? USERS_ADD : USERS_SET, .name = a->name, .role = a->role, .enabled = a->enabled};
    if (is_new && a->role < 0)
        edit->role = table.count == 0 ? AUTH_ADMINISTRATOR : AUTH_READ_ONLY;
    if (a->remove || (is_new && a->enabled >= 0))
        edit->op = a->remove ? USERS_REMOVE : USERS_SET;
    users_table_free(&table);
    if (status == 0 || status == -ENOENT)
        return 0;
    fprintf(stderr, "nbd-proxy passwd: %s\n", error);
    return status;
}

static int carry_out(const struct passwd_arguments *a, const struct users_edit *edit, const char *shown)
{
    struct users_table changed;
    char error[USERS_ERROR_MAX];
    if (edit->op == USERS_ADD)
        make_folder(a->file);
    if (users_edit_file(a->file, edit, &changed, error) != 0) {
        fprintf(stderr, "nbd-proxy passwd: %s\n", error);
        return EXIT_FAILURE;
    }
    const struct user *user = users_table_find(&changed, a->name);
    static const char *const done[] = {[USERS_ADD] = "added", [USERS_SET] = "changed", [USERS_REMOVE] = "removed"};
    fprintf(stderr, "%s: %s%s%s%s\n", a->name, done[edit->op], user ? ", " : "", user ? auth_role_name(user->role) : "",
            user && !user->enabled ? ", disabled" : "");
    if (*shown)
        puts(shown);
    users_table_free(&changed);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int passwd_command(int argc, char **argv)
{
    struct passwd_arguments a = {.file = PASSWD_FILE, .role = -1, .enabled = -1, .min = PASSWORD_MIN};
    char hash[PASSWORD_HASH_MAX] = USERS_PAM, shown[PASSWORD_RANDOM_LENGTH + 1] = "";
    struct users_edit edit;
    int code = passwd_parse_arguments(&a, argc, argv);
    if (code >= 0)
        return code;
    if (plan(&a, &edit) != 0)
        return EXIT_FAILURE;
    if (!a.remove && a.enabled < 0) {
        if (!a.pam && !make_hash(&a, shown, hash))
            return EXIT_FAILURE;
        edit.hash = hash;
    }
    code = carry_out(&a, &edit, shown);
    explicit_bzero(hash, sizeof hash);
    explicit_bzero(shown, sizeof shown);
    return code;
}
