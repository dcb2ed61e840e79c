/*
 * Slots on a fake kernel, a loop, and what a test asks of them; for the tests of a
 * slot. The group's set-up makes a folder with two images in it.
 */
#ifndef TEST_SLOT_RIG_H
#define TEST_SLOT_RIG_H

#include "../cmocka_all.h"
#include "fake_kernel.h"
#include "slot/slot_internal.h"
#include "slot/slots.h"

#define IMAGE_SIZE (1u << 20)
#define TURNS 20000

extern char slot_folder[], image[64], other_image[64];

struct rig {
    uv_loop_t loop;
    struct config config;
    uv_timer_t timer;
    struct slots *slots;
    int inserted, ejected; /* -1: not answered, else -errno as positive */
    bool closed;
};

/* The configuration, with that many slots; more may be set before slot_rig_run(). */
void slot_rig_start(struct rig *rig, unsigned slots);
void slot_rig_set(struct rig *rig, const char *assignment);
void slot_rig_run(struct rig *rig);
void slot_rig_begin_shutdown(struct rig *rig);
/* All is closed, the loop is empty, the kernel has nothing. */
void slot_rig_finish(struct rig *rig);
void slot_rig_stop(struct rig *rig); /* both */

/* One turn of the loop, of 1 ms at most. */
void slot_rig_turn(struct rig *rig);
#define until(rig, condition)                                                                                          \
    do {                                                                                                               \
        int turns = 0;                                                                                                 \
        while (!(condition) && turns++ < TURNS)                                                                        \
            slot_rig_turn(rig);                                                                                        \
        assert_true(condition);                                                                                        \
    } while (0)

struct slot *slot_rig_slot(struct rig *rig); /* the first */
enum slot_state slot_rig_state(struct rig *rig);
bool slot_rig_settled(struct rig *rig); /* empty, and no call to the kernel runs */
void slot_rig_insert(struct rig *rig, const char *path);
void slot_rig_eject(struct rig *rig);
void slot_rig_bring_ready(struct rig *rig);

/* The state file of a process before; what it is now. */
void slot_rig_write_state(const char *text);
void slot_rig_write_media(const char *path, unsigned size); /* with s0's medium */
char *slot_rig_read_state(void);

int slot_rig_set_up(void **unused);
int slot_rig_tear_down(void **unused);

#endif
