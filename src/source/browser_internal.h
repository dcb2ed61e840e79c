/*
 * What the parts of the browser source share: the source and its life (browser.c), its
 * ios (browser_io.c) and its connections (browser_peer.c). Private to source/.
 */
#ifndef SOURCE_BROWSER_INTERNAL_H
#define SOURCE_BROWSER_INTERNAL_H

#include "base/closing.h"
#include "base/text.h"
#include "link/estimate.h"
#include "nbd/client.h"
#include "source/browser.h"
#include "source/browser_samples.h"

struct browser_source;

/* A sample that is read again. */
struct browser_check {
    struct io io;
    struct browser_peer *peer;
    struct browser_sample sample;
};

/* A connection. It begins with its stream only, and has a client from opening on. */
struct browser_peer {
    struct link link;               /* in browser->peers */
    struct browser_source *browser; /* NULL: the peer closes and frees itself */
    struct browser_connection connection;
    char *claim;
    struct nbd_client *client; /* NULL: the peer was not opened, or was never wanted */
    bool ended;                /* the stream ended before the peer had a client */
    enum browser_end end;      /* what the peer is told, once it is dropped */
    char reason[NBD_CLIENT_ERROR_MAX];
    struct browser_check *checks;
    unsigned unchecked; /* how many of `checks` were not read yet */
};

/* An io of the caller's, and the one that the client gets for it. */
struct browser_io {
    struct link link; /* in browser->ios; on no list: given up, and still to come back from the client */
    struct browser_source *browser;
    struct io *upper;
    struct io lower;
    uint64_t deadline; /* loop time, ms */
    uint64_t sent_us;  /* uv_hrtime() / 1000 */
    bool sent;     /* `lower` is the client's */
    bool flushing; /* the write is done, `lower` is the FLUSH that it needs */
    bool unsure;   /* a write went over the range meanwhile: no sample of it */
    bool doubted;  /* what was read is in `upper`, and `part` of it is being read again */
    struct browser_sample part;
};

struct browser_source {
    struct source source;
    struct browser_options options;
    char claim[BROWSER_CLAIM_MAX + 1];
    struct link peers;         /* all peers, those that are being closed too */
    struct browser_peer *peer; /* the connection, or one that is being checked; NULL: none */
    bool online;               /* `peer` has proved to have the image: ios go to its client */
    bool left;                 /* the connection that is missed was left in the ordinary way */
    bool given_up;             /* the grace is over: ios fail until a browser comes back (`stay`) */
    bool grace_over;           /* the same, but a connection is being checked that may still bring the image */
    bool dead;
    struct link ios; /* struct browser_io, in the order of submission */
    struct browser_samples samples;
    bool unsampled; /* a write was given up: what the image holds is not known for now */
    struct link_estimate link;
    bool can_fua, failing;
    uv_timer_t grace, deadline, check;
    struct closing closing;
    bool handles_closed;
    enum browser_end end;
    char reason[BROWSER_REASON_MAX];
};

static inline bool browser_peer_read_only(const struct browser_peer *peer)
{
    return peer->connection.doubted || nbd_client_facts(peer->client)->read_only;
}

static inline struct browser_source *browser_of(struct source *source)
{
    return container_of(source, struct browser_source, source);
}

/* browser.c: what becomes of a connection, told by browser_peer.c. From callbacks of the loop. */
void browser_opened(struct browser_source *browser, int status);
void browser_came_back(struct browser_source *browser);
void browser_not_back(struct browser_source *browser); /* the peer that was checked is dropped */
void browser_lost(struct browser_source *browser);     /* the peer that served is dropped */
void browser_ended_by_user(struct browser_source *browser, const char *how);
void browser_deceived(struct browser_source *browser); /* the same bytes of the image were read twice, and differed */
void browser_peer_gone(struct browser_source *browser); /* one of its peers was freed */

/* browser_io.c */
void browser_submit(struct source *source, struct io *io);
void browser_io_send(struct browser_io *w);
void browser_io_give_up(struct browser_io *w, int status); /* of an io that waits for a connection, and gets none */
void browser_fail_ios(struct browser_source *browser, bool prefetch_only, int status); /* of ios that no client has */
/* The ios of a client that died wait from now on. */
void browser_take_back(struct browser_source *browser, struct nbd_client *client);
void browser_learn_link(struct browser_source *browser);
void browser_in_words(uint64_t ms, char out[TEXT_SIZE_MAX]); /* a time */

/* browser_peer.c */
struct browser_peer *browser_peer_new(struct browser_source *browser, const struct browser_connection *connection);
void browser_peer_open(struct browser_peer *peer);
/* Tells the peer `end` and `reason`. It is not browser->peer any more, closes, and frees itself. */
void browser_peer_drop(struct browser_peer *peer, enum browser_end end, const char *reason);
/* The same for a peer without a client, which may outlive the source. */
void browser_peer_release(struct browser_peer *peer, enum browser_end end, const char *reason);

#endif
