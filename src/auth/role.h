/*
 * Roles and what they may do: the standard roles and privileges of Redfish
 * (DMTF DSP0266, "Roles" and "Privileges"). Roles are fixed; there are no
 * roles of one's own.
 */
#ifndef AUTH_ROLE_H
#define AUTH_ROLE_H

#include <stdbool.h>

enum auth_role { AUTH_READ_ONLY, AUTH_OPERATOR, AUTH_ADMINISTRATOR };
#define AUTH_ROLES 3

enum auth_privilege {
    AUTH_LOGIN = 1 << 0,                /* to be there and to read */
    AUTH_CONFIGURE_SELF = 1 << 1,       /* one's own password and sessions */
    AUTH_CONFIGURE_COMPONENTS = 1 << 2, /* what is managed: media, the host */
    AUTH_CONFIGURE_MANAGER = 1 << 3,    /* the daemon itself */
    AUTH_CONFIGURE_USERS = 1 << 4,      /* other accounts and their sessions */
};
#define AUTH_PRIVILEGES 5

const char *auth_role_name(enum auth_role role);              /* "Administrator", "Operator", "ReadOnly" */
bool auth_role_parse(const char *text, enum auth_role *role); /* exactly as Redfish spells it */
unsigned auth_role_privileges(enum auth_role role);           /* a mask */
const char *auth_privilege_name(enum auth_privilege one);     /* "ConfigureUsers"; NULL: no such one */

/* Whether the role has every privilege of the mask. An empty mask, or one with a
 * privilege that is not known, is never allowed: a forgotten one closes a door. */
bool auth_allows(enum auth_role role, unsigned mask);

#endif
