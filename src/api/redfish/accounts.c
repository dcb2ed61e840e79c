/* Redfish accounts and roles. See api/redfish/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"

json_t *redfish_account_service(struct redfish_call *call)
{
    json_t *service = redfish_resource(TYPE_ACCOUNT_SERVICE, call->path, "AccountService", "Account Service");
    json_object_set_new(service, "ServiceEnabled", json_true());
    json_object_set_new(service, "MinPasswordLength", json_integer((json_int_t)call->site->config.web.password_min_length));
    json_object_set_new(service, "MaxPasswordLength", json_integer(PASSWORD_MAX));
    json_object_set_new(service, "Accounts", redfish_link(REDFISH_ACCOUNTS));
    json_object_set_new(service, "Roles", redfish_link(REDFISH_ROLES));
    return service;
}

/* --- roles --- */

json_t *redfish_roles(struct redfish_call *call)
{
    json_t *collection = redfish_collection(call, "Roles Collection");
    for (int role = AUTH_ADMINISTRATOR; role >= AUTH_READ_ONLY; role--)
        redfish_add_member(collection, REDFISH_ROLES, auth_role_name((enum auth_role)role));
    return collection;
}

json_t *redfish_role(struct redfish_call *call)
{
    enum auth_role role;
    if (!auth_role_parse(call->id, &role))
        return NULL;
    json_t *json = redfish_resource(TYPE_ROLE, call->path, call->id, "User Role"), *privileges = json_array();
    for (unsigned i = 0; i < AUTH_PRIVILEGES; i++)
        if (auth_role_privileges(role) & (1u << i))
            json_array_append_new(privileges, json_string(auth_privilege_name((enum auth_privilege)(1u << i))));
    json_object_set_new(json, "RoleId", json_string(call->id));
    json_object_set_new(json, "IsPredefined", json_true());
    json_object_set_new(json, "AssignedPrivileges", privileges);
    json_object_set_new(json, "OemPrivileges", json_array());
    return json;
}

/* --- accounts, reading --- */

static const struct redfish_property account_properties[] = {
    {"Password", REDFISH_TEXT},          {"RoleId", REDFISH_TEXT},      {"Enabled", REDFISH_FLAG},
    {"UserName", REDFISH_READ_ONLY},     {"Locked", REDFISH_READ_ONLY}, {"PasswordChangeRequired", REDFISH_READ_ONLY},
    {"AccountTypes", REDFISH_READ_ONLY}, {"Id", REDFISH_READ_ONLY},     {"Name", REDFISH_READ_ONLY},
    {"Links", REDFISH_READ_ONLY},        {NULL, REDFISH_IGNORED},
};

static bool redfish_accounts_may_see(const struct redfish_call *call, const char *name)
{
    return strcmp(name, call->user) == 0 || auth_allows(call->role, AUTH_CONFIGURE_USERS);
}

static json_t *redfish_accounts_show(const struct user *user)
{
    char path[REDFISH_PATH_MAX], role[REDFISH_PATH_MAX];
    snprintf(path, sizeof path, REDFISH_ACCOUNTS "/%s", user->name);
    snprintf(role, sizeof role, REDFISH_ROLES "/%s", auth_role_name(user->role));
    json_t *json = redfish_resource(TYPE_MANAGER_ACCOUNT, path, user->name, "User Account");
    json_object_set_new(json, "UserName", json_string(user->name));
    json_object_set_new(json, "Password", json_null());
    json_object_set_new(json, "PasswordChangeRequired", json_false());
    json_object_set_new(json, "RoleId", json_string(auth_role_name(user->role)));
    json_object_set_new(json, "Enabled", json_boolean(user->enabled));
    json_object_set_new(json, "Locked", json_false()); /* a lock is of an address, never of the account alone */
    json_object_set_new(json, "AccountTypes", json_pack("[s,s]", "Redfish", "WebUI"));
    json_object_set_new(json, "Links", json_pack("{s:o}", "Role", redfish_link(role)));
    redfish_set_writeable(json, "", account_properties);
    return json;
}

json_t *redfish_accounts(struct redfish_call *call)
{
    const struct users *users = call->site->users;
    json_t *collection = redfish_collection(call, "Accounts Collection");
    for (unsigned i = 0; i < users_count(users); i++) {
        const struct user *user = users_at(users, i);
        bool hidden = users_find(users, user->name) != user; /* the system's, behind one of the file */
        if (!hidden && redfish_accounts_may_see(call, user->name))
            redfish_add_member(collection, REDFISH_ACCOUNTS, user->name);
    }
    return collection;
}

/* For somebody who may not change other accounts, they do not exist. */
json_t *redfish_account(struct redfish_call *call)
{
    const struct user *user = users_find(call->site->users, call->id);
    return user && redfish_accounts_may_see(call, user->name) ? redfish_accounts_show(user) : NULL;
}

/* --- changes --- */

static json_t *wrong_value(const struct users_request *change)
{
    const char *property = !user_name_valid(change->name) ? "UserName" : "Password";
    const char *value = *property == 'U' ? change->name : "(hidden)";
    return redfish_message("PropertyValueIncorrect", property, property, value, NULL);
}

static void redfish_accounts_refuse(struct redfish_call *call)
{
    const struct users_request *change = &call->change;
    switch (-change->status) {
    case EEXIST:
        redfish_fail(
            call, 400,
            redfish_message("ResourceAlreadyExists", "UserName", "ManagerAccount", "UserName", call->id, NULL));
        break;
    case ENOENT:
        redfish_not_found(call);
        break;
    case ENOSPC:
        redfish_fail(call, 400, redfish_message("CreateLimitReachedForResource", NULL, NULL));
        break;
    case EINVAL:
        redfish_fail(call, 400, redfish_resolve(wrong_value(change), change->error));
        break;
    case EROFS:
        redfish_fail(call, 400, redfish_resolve(redfish_message("PropertyNotWritable", "UserName", "UserName", NULL), change->error));
        break;
    case EPERM:
        redfish_fail(call, 400, redfish_resolve(redfish_message("ResourceInUse", NULL, NULL), change->error));
        break;
    case EBUSY:
        redfish_fail_later(call, 503, 1000, redfish_message("ServiceTemporarilyUnavailable", NULL, "1", NULL));
        break;
    default:
        redfish_fail(call, 500, redfish_message("InternalError", NULL, NULL));
    }
}

static void on_redfish_accounts_changed(struct users_request *change)
{
    struct redfish_call *call = container_of(change, struct redfish_call, change);
    const struct user *user = call->request ? users_find(call->site->users, call->id) : NULL;
    char path[REDFISH_PATH_MAX];
    if (!call->request)
        redfish_call_free(call);
    else if (change->status != 0)
        redfish_accounts_refuse(call);
    else if (change->op == USERS_REMOVE || !user)
        redfish_reply_nothing(call);
    else if (change->op == USERS_SET)
        redfish_reply_changed(call, redfish_accounts_show(user));
    else {
        snprintf(path, sizeof path, REDFISH_ACCOUNTS "/%s", user->name);
        redfish_reply_created(call, path, redfish_accounts_show(user));
    }
}

/* A change that was begun is done, even if the client does not wait for the answer. */
static void redfish_accounts_start(struct redfish_call *call, enum users_op op, const char *password, int role,
                                   int enabled)
{
    call->change = (struct users_request){
        .op = op,
        .name = call->id,
        .password = password,
        .role = role,
        .enabled = enabled,
        .by = call->user,
        .peer = call->peer,
        .done = on_redfish_accounts_changed,
    };
    redfish_wait(call, NULL);
    users_change(call->site->users, &call->change);
}

/* `role` -1: not given. False: the role is wrong, and the call is answered. */
static bool read_role(struct redfish_call *call, const json_t *body, int *role)
{
    const json_t *value = json_object_get(body, "RoleId");
    enum auth_role parsed = AUTH_READ_ONLY;
    char shown[64];
    bool good = !value || auth_role_parse(json_string_value(value), &parsed);
    *role = value ? (int)parsed : -1;
    if (good)
        return true;
    redfish_show("RoleId", value, shown);
    redfish_fail(call, 400, redfish_message("PropertyValueNotInList", "RoleId", shown, "RoleId", NULL));
    return false;
}

static const struct redfish_property new_properties[] = {
    {"UserName", REDFISH_TEXT},  {"Password", REDFISH_TEXT},        {"RoleId", REDFISH_TEXT},
    {"Enabled", REDFISH_FLAG},   {"Name", REDFISH_IGNORED},         {"Description", REDFISH_IGNORED},
    {"Locked", REDFISH_IGNORED}, {"AccountTypes", REDFISH_IGNORED}, {NULL, REDFISH_IGNORED},
};

static const char *missing(const json_t *body)
{
    static const char *const required[] = {"UserName", "Password", "RoleId"};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!json_object_get(body, required[i]))
            return required[i];
    return NULL;
}

void redfish_accounts_post(struct redfish_call *call, json_t *body)
{
    const char *name = json_string_value(json_object_get(body, "UserName")), *lacking;
    int role;
    if (!redfish_check(call, body, new_properties))
        return;
    if ((lacking = missing(body)) != NULL) {
        redfish_fail(call, 400, redfish_message("PropertyMissing", lacking, lacking, NULL));
    } else if (!user_name_valid(name)) {
        char shown[64];
        redfish_show("UserName", json_object_get(body, "UserName"), shown);
        redfish_fail(
            call, 400,
            redfish_resolve(redfish_message("PropertyValueIncorrect", "UserName", "UserName", shown, NULL),
                            "Use 1 to 64 of letters, digits, '.', '_', '-' and '@', a letter, digit or '_' first."));
    } else if (read_role(call, body, &role)) {
        snprintf(call->id, sizeof call->id, "%s", name);
        redfish_accounts_start(call, USERS_ADD, json_string_value(json_object_get(body, "Password")), role,
                               redfish_flag(body, "Enabled"));
    }
}

void redfish_account_patch(struct redfish_call *call, json_t *body)
{
    bool more = json_object_get(body, "RoleId") || json_object_get(body, "Enabled");
    int role;
    if (more && !auth_allows(call->role, AUTH_CONFIGURE_USERS))
        redfish_fail(call, 403, redfish_message("InsufficientPrivilege", NULL, NULL));
    else if (redfish_check(call, body, account_properties) && read_role(call, body, &role))
        redfish_accounts_start(call, USERS_SET, json_string_value(json_object_get(body, "Password")), role,
                               redfish_flag(body, "Enabled"));
}

void redfish_account_delete(struct redfish_call *call)
{
    if (auth_allows(call->role, AUTH_CONFIGURE_USERS))
        redfish_accounts_start(call, USERS_REMOVE, NULL, -1, -1);
    else
        redfish_fail(call, 403, redfish_message("InsufficientPrivilege", NULL, NULL));
}
