/*
 * Listening for HTTP: TCP addresses, UNIX sockets, and sockets that systemd
 * handed over. Each connection comes as a stream with the peer's address as text.
 *
 *   [::]:443  *:443      every address, IPv6 and IPv4
 *   0.0.0.0:443          every IPv4 address
 *   127.0.0.1:0          the kernel chooses the port: tcp_listener_address()
 *   [fe80::1%eth0]:443   with a scope
 *   unix:/run/x.sock     a UNIX socket, for a proxy in front
 *
 * An address that no interface has yet is listened on all the same, with a warning in the log; not so one whose scope is
 * an interface that is not there. Names are not resolved: what one listens on should not depend on a server.
 */
#ifndef NET_TCP_LISTENER_H
#define NET_TCP_LISTENER_H

#include <netinet/in.h>

#include "base/list.h"
#include "net/address.h"
#include "net/stream.h"

/* What is sent on an accepted connection must have arrived by then, else the connection ends: its peer sleeps or is cut
 * off, and would keep its place for minutes (TCP_USER_TIMEOUT, tcp(7)). */
#define TCP_DEAD_MS      20000
#define TCP_ADDRESS_SIZE (INET6_ADDRSTRLEN + 32) /* "[address%scope]:port" */

/* Caps on connections, shared by several listeners; must outlive their streams. At first all
 * but the two numbers is zero. One address is an IPv4 address or an IPv6 network of 64 bits;
 * UNIX sockets and proxies count for `max` only. What exceeds a cap is closed at once. */
struct tcp_limits {
    unsigned max, max_each; /* 0: no limit */
    unsigned count;
    uint64_t refused;
    const struct address_prefixes *proxies; /* peers whose connections are those of many clients; NULL: none */
    bool (*make_room)(void *arg);           /* at `max`: closes a connection, to be freed soon; NULL: none is closed */
    void *make_room_arg;
    struct link addresses; /* private */
};
#define TCP_LEAVING_MAX 16 /* connections beyond `max`, while others close for them */
void tcp_limits_init(struct tcp_limits *limits, unsigned max, unsigned max_each);

/* For which address a connection counts, as long as its stream lives. */
struct tcp_claim;
/* From now on the connection counts for `address` (in numbers, without a port; NULL: for none), such as that of the
 * client for whom a proxy asks. False: the address has `max_each` already, and the connection counts for none. */
bool tcp_claim_move(struct tcp_claim *claim, const char *address);
/* How many connections the address of this claim has. */
unsigned tcp_claim_share(const struct tcp_claim *claim);

struct tcp_listener;
/* Called for each connection with a stream that the callee owns; `peer` is valid in the call, and `claim` is NULL without limits. */
typedef void tcp_listener_accept(struct tcp_listener *listener, struct stream *stream, const char *peer,
                                 struct tcp_claim *claim);

struct tcp_listener_options {
    const char *address; /* NULL: `fd` is listening already; it is taken over, on failure too */
    int fd;
    int backlog;
    unsigned mode;             /* of a UNIX socket's file */
    const char *group;         /* likewise; NULL: unchanged */
    struct tcp_limits *limits; /* NULL: none */
};

/* On failure returns NULL, *status is a negative errno, and `error` says what to do. */
struct tcp_listener *tcp_listener_new(uv_loop_t *loop, const struct tcp_listener_options *options,
                                      tcp_listener_accept *accept, void *owner, int *status, char *error,
                                      size_t error_size);
void *tcp_listener_owner(const struct tcp_listener *listener);
/* The address that is listened on, with the port that was chosen. */
const char *tcp_listener_address(const struct tcp_listener *listener);
bool tcp_listener_is_local(const struct tcp_listener *listener); /* loopback or a UNIX socket */
/* Stops listening and frees the listener; streams live on. */
void tcp_listener_close(struct tcp_listener *listener);

#define TCP_ADDRESS_UNIX "unix:"
/* Is it written as above? The interface of a scope need not be there. */
bool tcp_address_is_written(const char *text);
/* An address as above, without "unix:". False if it is none. */
bool tcp_address_parse(const char *text, struct sockaddr_storage *address);
/* "192.0.2.1:80", "[2001:db8::1]:80"; an IPv4 address mapped to IPv6 as IPv4. */
void tcp_address_text(const struct sockaddr_storage *address, char text[TCP_ADDRESS_SIZE]);
/* The peer of an IPv6 socket may be an IPv4 one: it becomes a plain IPv4 address. */
void tcp_address_unmap(const struct sockaddr_storage *from, struct sockaddr_storage *to);
bool tcp_address_is_loopback(const struct sockaddr_storage *address); /* a UNIX socket is it too */

/* How many sockets systemd handed over (sd_listen_fds(3)): the fds from ACTIVATION_FIRST_FD on.
 * They are marked close-on-exec, and the environment is cleared: call it once. */
#define ACTIVATION_FIRST_FD 3
#define ACTIVATION_MAX      16
int activation_fds(void);

#endif
