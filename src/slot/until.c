/* The names of what a medium stays for. See slot/slot.h. */
#include <string.h>

#include "slot/slot.h"

const char *slot_until_name(enum slot_until until)
{
    static const char *const names[SLOT_UNTILS] = {"Persistent", "OnPowerOff", "AfterUse"};
    return names[until];
}

bool slot_until_parse(const char *name, enum slot_until *until)
{
    for (*until = SLOT_UNTIL_EJECTED; *until < SLOT_UNTILS; (*until)++)
        if (strcmp(slot_until_name(*until), name) == 0)
            return true;
    return false;
}
