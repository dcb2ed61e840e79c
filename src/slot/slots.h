/*
 * All slots of the configuration: it makes them, hands them what they share, is told by them what
 * changes, and keeps the state file, by which their media outlive the process.
 */
#ifndef SLOT_SLOTS_H
#define SLOT_SLOTS_H

#include "slot/slot.h"

struct slots;

/* A slot goes on with its medium from before a restart; without one the configured image is inserted. What can't be
 * put in yet is tried again until it is in, until somebody inserts or ejects, or until it is hopeless (another image
 * is in place of the one before the restart, or the URL can't be a source). NULL on failure. */
struct slots *slots_new(uv_loop_t *loop, const struct config *config, const struct kernel_ops *kernel,
                        char error[CONFIG_ERROR_MAX]);
unsigned slots_count(const struct slots *slots);
struct slot *slots_get(struct slots *slots, unsigned index);
struct slot *slots_find(struct slots *slots, const char *name_or_index); /* NULL: none */
/* `changed` is called from inside the change: it may only look at the slot, and take note. */
struct slots_watch {
    void (*changed)(struct slots_watch *watch, struct slot *slot, enum slot_change change);
};
void slots_set_watch(struct slots *slots, struct slots_watch *watch); /* There is one at a time; NULL: none any more. */
/* Who adds to what is known of the machine, whenever something is inserted. */
void slots_set_machine(struct slots *slots, void (*tells)(void *arg, struct seed_facts *facts), void *arg);
/* All or nothing: a slot whose section did not change is untouched. */
int slots_reload(struct slots *slots, const struct config *config, char error[CONFIG_ERROR_MAX]);
/* Is the upload of that name inserted somewhere? */
bool slots_use_upload(struct slots *slots, const char *name);
struct cache *slots_cache(struct slots *slots);
/* May the process end with the media in, for another to go on with them? False with
 * the reason: what was written to a medium is in memory only. */
bool slots_may_keep(const struct slots *slots, char error[CONFIG_ERROR_MAX]);
/* Calls `kept` once the state file is written; the process then exits, and neither
 * the kernel's devices nor the gadgets are taken away. */
void slots_keep(struct slots *slots, void (*kept)(void *arg), void *arg);
/* All slots eject, close and are freed, and so is the set; then `closed` is called. */
void slots_close(struct slots *slots, void (*closed)(void *arg), void *arg);

#endif
