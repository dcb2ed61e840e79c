/*
 * An NBD server on a fake source, and one client of it at the other end of a socket
 * pair; for the tests of the server.
 */
#ifndef TEST_SERVER_RIG_H
#define TEST_SERVER_RIG_H

#include "../block/contract.h"
#include "../block/fake_source.h"
#include "../cmocka_all.h"
#include "nbd/server.h"

#define SIZE 100000u

extern unsigned char content[SIZE];
extern struct fake_stats fake_stats;
extern unsigned fake_delay;   /* of the next rig's source */
extern uint64_t idle_timeout; /* of the next rig's server */

struct rig {
    uv_loop_t loop;
    struct source *source;
    struct nbd_server *server;
    struct nbd_server_budget budget;
    int client;
    bool opened, closed, detached, server_closed;
};

void rig_begin(struct rig *rig, bool writable);
/* All is closed, and the loop is empty. */
void rig_end(struct rig *rig);

void set_flag(void *flag); /* a callback: *flag = true */
void run_until(struct rig *rig, const bool *flag);

#endif
