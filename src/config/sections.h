/* How the parser puts values into a config: private to config/. */
#ifndef CONFIG_SECTIONS_H
#define CONFIG_SECTIONS_H

#include "config/config.h"
#include "config/keys.h"

void config_empty(struct config *config); /* the defaults, and no slot */
struct config_slot *config_find_slot(struct config *config, const char *name);
struct config_slot *config_add_slot(struct config *config, const char *name); /* NULL: there are too many */
const char *config_slot_name_problem(const char *name);
/* False: `expected` says what was. `slot` is for KEY_SLOT only. */
bool config_assign(struct config *config, enum key_section section, struct config_slot *slot, const struct key *key,
                   const char *value, char *expected, size_t size);

#endif
