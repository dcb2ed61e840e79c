#include "auth/system_accounts.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <shadow.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

#define PASSWD_PATH  "/etc/passwd"
#define BUFFER_FIRST 4096u
#define BUFFER_MAX   (1u << 20) /* of what the name service says of one group or account */
#define DAY          86400

/* One look: it has a buffer for the name service's answers. */
struct look {
    struct system_accounts *accounts;
    char *buffer;
    size_t size;
};

static pthread_mutex_t one_look = PTHREAD_MUTEX_INITIALIZER; /* fgetpwent(3) has but one answer */

static void key_of(unsigned char key[SECRET_BYTES])
{
    static unsigned char made[SECRET_BYTES];
    static bool is_made;
    if (!is_made)
        secret_random(made, sizeof made);
    is_made = true;
    memcpy(key, made, sizeof made);
}

/* --- the name service --- */

/* True: the call is to be made again, with the larger buffer that is there now. */
static bool look_grow(struct look *look, int status)
{
    if (status != ERANGE || look->size >= BUFFER_MAX)
        return false;
    explicit_bzero(look->buffer, look->size);
    look->size *= 4;
    look->buffer = mem_realloc(look->buffer, look->size);
    return true;
}

/* What getgrnam_r(3) and its like also say when there is no such name. */
static int not_there(int status)
{
    return status == ENOENT || status == ESRCH || status == EBADF || status == EPERM ? 0 : -status;
}

static int find_group(struct look *look, const char *name, struct group *group, bool *found)
{
    struct group *answer;
    int status;
    do
        status = getgrnam_r(name, group, look->buffer, look->size, &answer);
    while (look_grow(look, status));
    *found = status == 0 && answer;
    return not_there(status);
}

static int find_passwd(struct look *look, const char *name, uid_t *uid, bool *found)
{
    struct passwd entry, *answer;
    int status;
    do
        status = getpwnam_r(name, &entry, look->buffer, look->size, &answer);
    while (look_grow(look, status));
    *found = status == 0 && answer;
    *uid = *found ? entry.pw_uid : 0;
    return not_there(status);
}

static int find_shadow(struct look *look, const char *name, struct spwd *entry, bool *found)
{
    struct spwd *answer;
    int status;
    do
        status = getspnam_r(name, entry, look->buffer, look->size, &answer);
    while (look_grow(look, status));
    *found = status == 0 && answer;
    if (status == EACCES)
        look->accounts->blind = 1;
    return status == EACCES ? 0 : not_there(status);
}

/* --- an account --- */

static bool is_over(const struct spwd *s)
{
    long today = (long)(time(NULL) / DAY);
    bool password = s->sp_lstchg > 0 && s->sp_max >= 0 && s->sp_inact >= 0 && today > s->sp_lstchg + s->sp_max + s->sp_inact;
    return password || (s->sp_expire >= 0 && today >= s->sp_expire);
}

static bool make_stamp(struct system_account *account, uid_t uid, const struct spwd *s)
{
    unsigned char key[SECRET_BYTES];
    char numbers[160];
    snprintf(numbers, sizeof numbers, "%lu %ld %ld %ld %ld", (unsigned long)uid, s->sp_lstchg, s->sp_max, s->sp_inact,
             s->sp_expire);
    const char *const parts[] = {account->name, numbers, s->sp_pwdp ? s->sp_pwdp : ""};
    key_of(key);
    return secret_mac(key, parts, 3, account->stamp);
}

/* Somebody who is in a group, but has no account (any more), is passed over. */
static int look_at_account(struct look *look, struct system_account *account, bool *there)
{
    struct spwd shadow = {.sp_lstchg = -1, .sp_max = -1, .sp_inact = -1, .sp_expire = -1};
    bool has_shadow;
    uid_t uid;
    int status = find_passwd(look, account->name, &uid, there);
    if (status != 0 || !*there)
        return status;
    status = find_shadow(look, account->name, &shadow, &has_shadow);
    if (!has_shadow)
        shadow = (struct spwd){.sp_lstchg = -1, .sp_max = -1, .sp_inact = -1, .sp_expire = -1};
    bool locked = shadow.sp_pwdp && *shadow.sp_pwdp == '!';
    account->enabled = make_stamp(account, uid, &shadow) && !locked && !is_over(&shadow);
    return status;
}

static int look_at_name(struct look *look, const char *name, enum auth_role role)
{
    struct system_accounts *all = look->accounts;
    struct system_account account = {.role = (uint8_t)role};
    bool there;
    if (!user_name_valid(name) || system_accounts_find(all, name))
        return 0;
    snprintf(account.name, sizeof account.name, "%s", name);
    int status = look_at_account(look, &account, &there);
    if (status != 0 || !there)
        return status;
    if (all->count == SYSTEM_ACCOUNTS_MAX)
        all->too_many = 1;
    else
        all->accounts[all->count++] = account;
    return 0;
}

/* --- a group --- */

/* The members stand in the buffer, which is used again for each of them. */
static char *members_of(const struct group *group)
{
    size_t size = 1;
    for (char **name = group->gr_mem; *name; name++)
        size += strlen(*name) + 1;
    char *names = mem_alloc(size), *to = names;
    for (char **name = group->gr_mem; *name; name++)
        to = stpcpy(to, *name) + 1;
    return names; /* an empty name is the end */
}

static int look_at_members(struct look *look, const struct group *group, enum auth_role role)
{
    char *names = members_of(group);
    int status = 0;
    for (const char *name = names; status == 0 && *name; name += strlen(name) + 1)
        status = look_at_name(look, name, role);
    mem_free(names);
    return status;
}

static int look_at_first_groups(struct look *look, gid_t gid, enum auth_role role)
{
    FILE *file = fopen(PASSWD_PATH, "re");
    int status = 0;
    if (!file)
        return errno == ENOENT ? 0 : -errno;
    for (struct passwd *entry = fgetpwent(file); status == 0 && entry; entry = fgetpwent(file))
        if (entry->pw_gid == gid)
            status = look_at_name(look, entry->pw_name, role);
    fclose(file);
    return status;
}

static int look_at_group(struct look *look, const char *name, enum auth_role role)
{
    struct group group;
    bool found;
    int status = find_group(look, name, &group, &found);
    if (status != 0 || !found)
        return status;
    gid_t gid = group.gr_gid;
    status = look_at_members(look, &group, role);
    return status == 0 ? look_at_first_groups(look, gid, role) : status;
}

static int look_at_role(struct look *look, const char *groups, enum auth_role role)
{
    char copy[SYSTEM_GROUPS_MAX], *rest;
    int status = 0;
    snprintf(copy, sizeof copy, "%s", groups);
    for (char *name = strtok_r(copy, " ,\t", &rest); status == 0 && name; name = strtok_r(NULL, " ,\t", &rest))
        status = look_at_group(look, name, role);
    return status;
}

int system_accounts_look(const struct system_groups *groups, struct system_accounts *accounts)
{
    static uint32_t number;
    struct look look = {accounts, mem_alloc(BUFFER_FIRST), BUFFER_FIRST};
    int status = 0;
    memset(accounts, 0, sizeof *accounts);
    pthread_mutex_lock(&one_look);
    accounts->number = ++number;
    for (int role = AUTH_ROLES - 1; status == 0 && role >= 0; role--)
        status = look_at_role(&look, groups->of[role], (enum auth_role)role);
    pthread_mutex_unlock(&one_look);
    explicit_bzero(look.buffer, look.size);
    mem_free(look.buffer);
    return status;
}

const struct system_account *system_accounts_find(const struct system_accounts *accounts, const char *name)
{
    for (uint32_t i = 0; i < accounts->count && i < SYSTEM_ACCOUNTS_MAX; i++)
        if (strcmp(accounts->accounts[i].name, name) == 0)
            return &accounts->accounts[i];
    return NULL;
}
