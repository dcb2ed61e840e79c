#include "auth/role.h"

#include <string.h>

static const struct role {
    const char *name;
    unsigned privileges;
} roles[AUTH_ROLES] = {
    [AUTH_READ_ONLY] = {"ReadOnly", AUTH_LOGIN | AUTH_CONFIGURE_SELF},
    [AUTH_OPERATOR] = {"Operator", AUTH_LOGIN | AUTH_CONFIGURE_SELF | AUTH_CONFIGURE_COMPONENTS},
    [AUTH_ADMINISTRATOR] = {"Administrator", AUTH_LOGIN | AUTH_CONFIGURE_SELF | AUTH_CONFIGURE_COMPONENTS |
                                                 AUTH_CONFIGURE_MANAGER | AUTH_CONFIGURE_USERS},
};

const char *auth_role_name(enum auth_role role)
{
    return roles[role].name;
}

bool auth_role_parse(const char *text, enum auth_role *role)
{
    for (unsigned i = 0; i < AUTH_ROLES; i++)
        if (strcmp(text, roles[i].name) == 0) {
            *role = (enum auth_role)i;
            return true;
        }
    return false;
}

unsigned auth_role_privileges(enum auth_role role)
{
    return roles[role].privileges;
}

const char *auth_privilege_name(enum auth_privilege one)
{
    switch (one) {
    case AUTH_LOGIN:
        return "Login";
    case AUTH_CONFIGURE_SELF:
        return "ConfigureSelf";
    case AUTH_CONFIGURE_COMPONENTS:
        return "ConfigureComponents";
    case AUTH_CONFIGURE_MANAGER:
        return "ConfigureManager";
    case AUTH_CONFIGURE_USERS:
        return "ConfigureUsers";
    }
    return NULL;
}

bool auth_allows(enum auth_role role, unsigned mask)
{
    return mask != 0 && (roles[role].privileges & mask) == mask;
}
