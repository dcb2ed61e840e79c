/*
 * An NBD client on a socket pair, with an nbd_peer at the other end or a server that the
 * test plays by hand, byte by byte; counts the callbacks and checks their order.
 */
#ifndef TEST_NBD_CLIENT_RIG_H
#define TEST_NBD_CLIENT_RIG_H

#include "nbd/client.h"
#include "nbd_peer.h"

#define SIZE (3u * 1000 * 1000 + 5)
#define IOS  96
#define LOST (-ECONNRESET)

extern unsigned char content[SIZE];
extern const struct nbd_client_options usual;

struct client_io {
    struct io io;
    struct rig *rig;
    int done;
    bool wrong;
};

struct rig {
    uv_loop_t loop;
    int fd;                /* the other end, when it is played by hand */
    struct nbd_peer *peer; /* else */
    struct nbd_client *client;
    struct link_estimate link;
    int ready, ready_status, died, died_status, closed, hung_up, hung_up_status;
    char error[NBD_CLIENT_ERROR_MAX];
    bool close_when_ready, close_when_died, close_when_done, read_when_done, take_back;
    struct link taken;
    struct client_io ios[IOS];
    unsigned used;
    int done;
};

struct script {
    unsigned char bytes[1 << 16];
    size_t length;
};

int make_content(void **state);
void rig_by_hand(struct rig *rig, const struct nbd_client_options *options);
void rig_with_peer(struct rig *rig, const struct nbd_client_options *options);
void client_begin(struct rig *rig, struct stream *stream, const struct nbd_client_options *options);
/* Closes, if that was not done; asserts that the loop is empty then. */
void rig_end(struct rig *rig);
void turns(struct rig *rig, int count);
void wait_ms(struct rig *rig, unsigned ms);
void run_until(struct rig *rig, const int *what);
void run_until_done(struct rig *rig, int dones);

struct io *submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length);
struct io *read_at(struct rig *rig, uint64_t offset, uint32_t length);

/* --- a server by hand: what it says --- */

void put(struct script *s, const void *data, size_t length);
void put_greeting(struct script *s, uint16_t flags);
void put_export(struct script *s, uint64_t size, uint16_t flags, bool zeroes);
void put_answer(struct script *s, uint32_t reply, const void *data, uint32_t length);
void put_info_export(struct script *s, uint64_t size);
void put_info_sizes(struct script *s, uint32_t minimum, uint32_t preferred, uint32_t maximum);
void put_reply(struct script *s, uint32_t error, uint64_t cookie, const void *data, size_t length);
/* Says it in pieces of that many bytes. */
void play(struct rig *rig, const struct script *s, size_t piece);
/* What the client sent, up to now. */
size_t heard(struct rig *rig, unsigned char *to, size_t size);
/* A client that may be used, by EXPORT_NAME. */
void by_hand_ready(struct rig *rig, const struct nbd_client_options *options);
/* The cookies of the requests that the client sent meanwhile. */
unsigned cookies(struct rig *rig, uint64_t to[IOS]);

#endif
