/*
 * A kernel that only remembers: what is connected, what gadgets are there, what is
 * in them. Each call can be made to fail or to wait, and connecting can be made to
 * read through the connection first, as the real kernel may.
 */
#ifndef TEST_FAKE_KERNEL_H
#define TEST_FAKE_KERNEL_H

#include <stdbool.h>

#include "kernel/kernel.h"

enum fake_call {
    FAKE_NONE,
    FAKE_CONNECT,
    FAKE_RECONNECT,
    FAKE_DISCONNECT,
    FAKE_PREPARE,
    FAKE_INSERT,
    FAKE_EJECT,
    FAKE_REMOVE
};

#define FAKE_DEVICES 16

extern const struct kernel_ops fake_kernel;

void fake_kernel_reset(void);
/* That call fails from now on; FAKE_NONE: none. */
void fake_kernel_fail(enum fake_call call);
/* That call waits until fake_kernel_release(). */
void fake_kernel_hold(enum fake_call call);
bool fake_kernel_held(void); /* a call waits now */
void fake_kernel_release(void);
/* Connecting reads the device's first bytes, and fails when they don't come. */
void fake_kernel_read_at_connect(bool on);
/* "" when nothing is left: no device, no gadget; else what. */
const char *fake_kernel_left(void);
bool fake_kernel_connected(unsigned index);
bool fake_kernel_medium(const char *gadget); /* the gadget shows one */
void fake_kernel_host_ejects(const char *gadget); /* the one that it shows */
void fake_kernel_connect_as(unsigned index, const char *backend); /* as a process of before left it */
unsigned fake_kernel_reads(void); /* reads that were answered with data */

#endif
