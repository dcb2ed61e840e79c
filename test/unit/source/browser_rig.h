/*
 * A browser source with several connections, one after the other, each with an nbd_peer at
 * the other end; counts the callbacks and notes what the peers are told.
 */
#ifndef TEST_SOURCE_BROWSER_RIG_H
#define TEST_SOURCE_BROWSER_RIG_H

#include "../nbd/nbd_peer.h"
#include "source/browser.h"

#define SIZE  (1000u * 1000 + 7)
#define IOS   64
#define PEERS 8

extern unsigned char content[SIZE], served[SIZE]; /* the same bytes, until something is written */
extern const struct browser_options usual;

struct rig_io {
    struct io io;
    struct rig *rig;
    int done;
};

struct rig {
    uv_loop_t loop;
    struct source *source;
    struct nbd_peer *peers[PEERS];
    struct stream *streams[PEERS]; /* our ends */
    unsigned peer_count, gone;
    int opened, opened_status, died, died_status, closed;
    bool close_when_died;
    int answering;           /* how many said that they are ready */
    struct rig_io ios[IOS];
    unsigned used;
    int done;
};

/* What the peer that was hung up on last was told, and how many were; a stream tells no owner. */
extern enum browser_end told_end;
extern char told_reason[BROWSER_REASON_MAX * 2];
extern unsigned told;
extern enum browser_leave leave; /* what `left` says */
extern bool way_doubted, only_browser; /* what the next connections are; not so again at rig_end() */

int make_content(void **state);
/* A source with its first connection, which makes a claim; not open. */
struct nbd_peer *rig_begin(struct rig *rig, const struct browser_options *options);
int rig_open(struct rig *rig);
struct nbd_peer *open_usual(struct rig *rig, const struct browser_options *options);
/* Closes all; asserts that every connection was told why, once, and is gone. */
void rig_end(struct rig *rig);
void run_until(struct rig *rig, const int *what);
void run_until_done(struct rig *rig, int dones);
void turns(struct rig *rig, int count);
void wait_ms(struct rig *rig, unsigned ms);

struct io *submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length);
struct io *read_at(struct rig *rig, uint64_t offset, uint32_t length);
struct io *read_now(struct rig *rig, uint64_t offset, uint32_t length);
void assert_read(const struct io *io);

/* The connection that was made last is lost; a new one comes. */
void lose(struct rig *rig);
struct nbd_peer *come_back(struct rig *rig, unsigned char *bytes, uint64_t size, const char *claim);
void run_until_back(struct rig *rig);
/* Until so many were hung up on. */
void run_until_told(struct rig *rig, unsigned count);

#endif
