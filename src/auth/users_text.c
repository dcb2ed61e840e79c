/* The text of a users file: reading it, and changing a line of it. No files here. */
#include <build-config.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/users_file.h"
#include "base/text.h"

#define LINE_MAX_LENGTH 512 /* of a line with an account */
#define FIELDS          4

enum { FIELD_NAME, FIELD_HASH, FIELD_ROLE, FIELD_STATE };

void users_table_init(struct users_table *table)
{
    memset(table, 0, sizeof *table);
    table->text = mem_strdup("");
}

void users_table_free(struct users_table *table)
{
    if (table->text)
        explicit_bzero(table->text, table->size);
    mem_free(table->text);
    explicit_bzero(table, sizeof *table);
}

bool user_name_valid(const char *name)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-@";
    size_t length = strlen(name);
    return length > 0 && length <= USER_NAME_MAX && strchr(first, name[0]) && strspn(name, rest) == length;
}

bool user_equal(const struct user *a, const struct user *b)
{
    return a->enabled == b->enabled && a->role == b->role && strcmp(a->hash, b->hash) == 0;
}

bool user_is_system(const struct user *user)
{
    return strncmp(user->hash, USERS_PAM ":", sizeof USERS_PAM) == 0;
}

bool user_is_pam(const struct user *user)
{
    return strcmp(user->hash, USERS_PAM) == 0 || user_is_system(user);
}

const struct user *users_table_find(const struct users_table *table, const char *name)
{
    for (unsigned i = 0; i < table->count; i++)
        if (strcmp(table->users[i].name, name) == 0)
            return &table->users[i];
    return NULL;
}

unsigned users_table_administrators(const struct users_table *table)
{
    unsigned count = 0;
    for (unsigned i = 0; i < table->count; i++)
        count += table->users[i].enabled && table->users[i].role == AUTH_ADMINISTRATOR;
    return count;
}

/* --- reading --- */

static const char *hash_problem(const char *hash)
{
#ifndef HAVE_PAM
    if (strcmp(hash, USERS_PAM) == 0)
        return "the hash is \"pam\", but this nbd-proxy was built without PAM";
#endif
    if (strcmp(hash, USERS_PAM) == 0 || password_hash_valid(hash))
        return NULL;
    return "the hash is not one of yescrypt ($y$) or SHA-512 ($6$)";
}

static bool parse_state(const char *text, bool *enabled)
{
    *enabled = strcmp(text, "enabled") == 0;
    return *enabled || strcmp(text, "disabled") == 0;
}

/* Cuts the line at its colons; false unless there are exactly FIELDS. */
static bool users_text_split(char *line, char *fields[FIELDS])
{
    unsigned count = 0;
    for (char *at = line; at; count++) {
        char *colon = strchr(at, ':');
        if (count == FIELDS)
            return false;
        fields[count] = at;
        if (colon)
            *colon++ = '\0';
        at = colon;
    }
    return count == FIELDS;
}

/* NULL, or what is wrong with the line, which is cut. */
static const char *parse_user(const struct users_table *table, char *line, struct user *user)
{
    char *fields[FIELDS];
    if (!users_text_split(line, fields))
        return "a line is name:hash:role:state";
    if (!user_name_valid(fields[FIELD_NAME]))
        return "the name is not 1 to 64 of A-Z a-z 0-9 . _ - @";
    if (users_table_find(table, fields[FIELD_NAME]))
        return "the name was there before";
    const char *problem = hash_problem(fields[FIELD_HASH]);
    if (problem)
        return problem;
    if (!auth_role_parse(fields[FIELD_ROLE], &user->role))
        return "the role is not Administrator, Operator or ReadOnly";
    if (!parse_state(fields[FIELD_STATE], &user->enabled))
        return "the state is not enabled or disabled";
    memcpy(user->name, fields[FIELD_NAME], strlen(fields[FIELD_NAME]) + 1);
    memcpy(user->hash, fields[FIELD_HASH], strlen(fields[FIELD_HASH]) + 1);
    return table->count == USERS_MAX ? "there are more than 64 accounts" : NULL;
}

/* One line without its end, `length` bytes. */
static const char *users_parse_line(struct users_table *table, const char *text, size_t length, size_t whole)
{
    char line[LINE_MAX_LENGTH + 1];
    struct user user = {.at = (size_t)(text - table->text), .length = whole};
    if (memchr(text, '\0', length))
        return "there is a NUL byte";
    while (length > 0 && strchr(" \t\r", text[length - 1]))
        length--;
    if (length == 0 || text[0] == '#')
        return NULL;
    if (length > LINE_MAX_LENGTH)
        return "the line is too long";
    memcpy(line, text, length);
    line[length] = '\0';
    const char *problem = parse_user(table, line, &user);
    if (!problem)
        table->users[table->count++] = user;
    explicit_bzero(line, sizeof line);
    return problem;
}

static const char *parse_lines(struct users_table *table, unsigned *number)
{
    const char *at = table->text, *end = at + table->size;
    for (*number = 1; at < end; ++*number) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline ? newline + 1 : end;
        const char *problem = users_parse_line(table, at, (size_t)((newline ? newline : end) - at), (size_t)(next - at));
        if (problem)
            return problem;
        at = next;
    }
    return NULL;
}

int users_parse(struct users_table *table, const char *name, const char *text, size_t size, char error[USERS_ERROR_MAX])
{
    unsigned number = 0;
    const char *problem = "the file is too large";
    users_table_init(table);
    if (size <= USERS_FILE_MAX) {
        table->text = mem_realloc(table->text, size + 1);
        memcpy(table->text, text, size);
        table->text[size] = '\0';
        table->size = size;
        problem = parse_lines(table, &number);
    }
    if (!problem)
        return 0;
    snprintf(error, USERS_ERROR_MAX, "%s:%u: %s", name, number, problem);
    users_table_free(table);
    users_table_init(table);
    return -EINVAL;
}

/* --- changing --- */

static int users_text_refuse(char error[USERS_ERROR_MAX], int status, const char *name, const char *problem)
{
    char shown[2 * USER_NAME_MAX];
    text_escape(name, shown, sizeof shown);
    snprintf(error, USERS_ERROR_MAX, "%s: %s", shown, problem);
    return status;
}

/* What the account will be; its line takes the old one's place, or comes behind the last. */
static int target(const struct users_table *table, const struct users_edit *edit, struct user *user,
                  char error[USERS_ERROR_MAX])
{
    const struct user *old = users_table_find(table, edit->name);
    if (!user_name_valid(edit->name))
        return users_text_refuse(error, -EINVAL, edit->name, "a name is 1 to 64 of A-Z a-z 0-9 . _ - @");
    if (edit->op == USERS_ADD && old)
        return users_text_refuse(error, -EEXIST, edit->name, "there is such an account");
    if (edit->op != USERS_ADD && !old)
        return users_text_refuse(error, -ENOENT, edit->name, "there is no such account");
    if (edit->op == USERS_ADD && table->count == USERS_MAX)
        return users_text_refuse(error, -ENOSPC, edit->name, "there are 64 accounts already");
    if (edit->op == USERS_ADD && (!edit->hash || edit->role < 0))
        return users_text_refuse(error, -EINVAL, edit->name, "a new account needs a password and a role");
    if (edit->hash && hash_problem(edit->hash))
        return users_text_refuse(error, -EINVAL, edit->name, hash_problem(edit->hash));
    *user = old ? *old : (struct user){.at = table->size, .enabled = true};
    snprintf(user->name, sizeof user->name, "%s", edit->name);
    if (edit->hash)
        snprintf(user->hash, sizeof user->hash, "%s", edit->hash);
    if (edit->role >= 0)
        user->role = (enum auth_role)edit->role;
    if (edit->enabled >= 0)
        user->enabled = edit->enabled != 0;
    return 0;
}

static char *spliced(const struct users_table *table, const struct user *user, const char *line)
{
    const char *missing_end = user->length == 0 && table->size > 0 && table->text[table->size - 1] != '\n' ? "\n" : "";
    size_t after = user->at + user->length, size = table->size + strlen(line) + 2;
    char *text = mem_alloc(size);
    snprintf(text, size, "%.*s%s%s%s", (int)user->at, table->text, missing_end, line, table->text + after);
    return text;
}

int users_apply(const struct users_table *table, const struct users_edit *edit, struct users_table *changed,
                char error[USERS_ERROR_MAX])
{
    struct user user;
    char line[LINE_MAX_LENGTH + 1] = "";
    int status = target(table, edit, &user, error);
    if (status != 0)
        return status;
    if (edit->op != USERS_REMOVE)
        snprintf(line, sizeof line, "%s:%s:%s:%s\n", user.name, user.hash, auth_role_name(user.role),
                 user.enabled ? "enabled" : "disabled");
    char *text = spliced(table, &user, line);
    status = users_parse(changed, "users file", text, strlen(text), error); /* what is written must read back */
    mem_free_secret(text);
    if (status == 0 && users_table_administrators(table) > 0 && users_table_administrators(changed) == 0)
        status = users_text_refuse(error, -EPERM, edit->name, "it is the last enabled Administrator");
    if (status != 0)
        users_table_free(changed);
    return status;
}
