/*
 * The engine in virtual time: the cache, its reading ahead and the remote source as they are, on libuv's own loop, over an
 * emulated link. The program's clock_gettime() gives the simulated time, which jumps from one event to the next, so that an
 * hour of a thin link takes a second and every run is the same.
 *
 * The link: each direction has the rate to itself, a byte takes half the round trip beside it. A connection costs a round trip
 * for TCP and one for TLS, its window begins at ten segments and grows by what is acknowledged. FAIR: connections take
 * turns, as flows of TCP do in the mean; FIFO: what is sent waits in one queue with a bounded buffer.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "block/cache.h"
#include "block/source.h"
#include "link/shared.h"

/* --- time --- */

void sim_begin(uv_loop_t *loop); /* the loop has its base/defer.h; time goes on where it was */
uint64_t sim_now_us(void);
/* `fire` comes at that time, in the order of times, then of calls. */
void sim_at(uint64_t at_us, void (*fire)(void *arg), void *arg);
/* Goes on until it is true; false: `until_us` came before, or nothing is left that could happen. */
bool sim_run(bool (*condition)(void *arg), void *arg, uint64_t until_us);

/* --- the link --- */

enum sim_queue { SIM_FAIR, SIM_FIFO };

struct sim_link_options {
    const char *name;
    uint64_t rate;   /* bytes a second; 0: without bound */
    uint64_t rtt_us;
    enum sim_queue queue;
    uint64_t buffer; /* FIFO: bytes; 0: two bandwidth-delay products, at least 256 KiB */
    uint64_t window; /* the most of a connection; 0: 4 MiB */
    bool idle_restart; /* the window begins anew after a pause, as Linux has it by default */
};

struct sim_link;

struct sim_link *sim_link_new(const struct sim_link_options *options);
void sim_link_free(struct sim_link *link); /* no connection is left */
uint64_t sim_link_carried(const struct sim_link *link); /* bytes down, ever */
unsigned sim_link_opened(const struct sim_link *link);  /* connections, ever */
unsigned sim_link_open_now(const struct sim_link *link);

struct sim_connection;

/* Open after its handshakes; what is asked for before waits for them. */
struct sim_connection *sim_connection_new(struct sim_link *link);
/* One request at a time: `arrived` comes for each piece of `length` bytes, with what has come in all. */
void sim_connection_ask(struct sim_connection *connection, uint64_t length, void (*arrived)(void *arg, uint64_t received),
                        void *arg);
/* When the last request was sent, microseconds. */
uint64_t sim_connection_asked(const struct sim_connection *connection);
void sim_connection_close(struct sim_connection *connection);

/* How long one download of so much takes on one connection, microseconds: what curl would take. */
uint64_t sim_download(const struct sim_link_options *options, uint64_t bytes, unsigned connections);

/* --- an image at its other end, as HTTP has it: a pool of connections, one range at a time on each --- */

struct source *sim_source_new(uv_loop_t *loop, struct sim_link *link, struct links *links, uint64_t size,
                              unsigned connections);

#endif
