/*
 * Stream sockets as streams, and listening UNIX sockets. Socket files are made
 * with the wanted mode and group, replace a stale socket (never another kind of
 * file, never one that still answers), and are removed at close. The program
 * ignores SIGPIPE.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <sys/types.h>
#include <uv.h>

#include "net/stream.h"

#define SOCKET_READ_BUFFER (256 * 1024) /* one a loop, lent to on_data */
#define SOCKET_PIPE        (512 * 1024) /* asked of the kernel for a pipe that is read */

/* A stream on a connected stream socket; takes over the fd. NULL on failure
 * (the fd is closed then, and *status is a negative errno). */
struct stream *socket_stream_new(uv_loop_t *loop, int fd, int *status);
/* The same for a connection to another machine: its buffers are left to the kernel, which fits them to the path. */
struct stream *socket_stream_connected(uv_loop_t *loop, int fd, int *status);
/* A stream of two descriptors, what is read from and what is written to: pipes, or sockets that may be the same one.
 * Takes over both; a pipe that is read is made large. NULL on failure, as above; -EINVAL for other kinds. */
struct stream *socket_stream_pair(uv_loop_t *loop, int in, int out, int *status);
/* The stream ends as if its peer had reset it: from now on nothing is read or written, and on_end comes. */
void socket_cut(struct stream *stream);
/* The next connection of a listening uv_pipe_t; NULL if the client is gone already. */
struct stream *socket_stream_accept(uv_stream_t *server);
/* The socket's fd, which stays the stream's; -1 once it is closing. */
int socket_fd(struct stream *stream);
/* Called once, when the stream is freed: for those who count streams. */
void socket_on_free(struct stream *stream, void (*freed)(void *arg), void *arg);
/* The pid, uid and gid at the other end of a UNIX socket. 0 or a negative errno. */
struct socket_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
int socket_peer(struct stream *stream, struct socket_peer *peer);
/* Whether the process at the other end was in the group when it connected, by its gid or a supplementary one: the
 * kernel says so. */
bool socket_peer_has_group(struct stream *stream, gid_t group);

struct listener;
struct listener_options {
    const char *path;
    unsigned mode;     /* 0600 */
    const char *group; /* NULL or "": unchanged */
    int backlog;
};
/* Called for each connection with a stream that the callee owns. */
typedef void listener_accept(struct listener *listener, struct stream *stream);

/* On failure returns NULL, *status is a negative errno, and `error` (of
 * `error_size` bytes) says what to do in words. */
struct listener *listener_new(uv_loop_t *loop, const struct listener_options *options, listener_accept *accept,
                              void *owner, int *status, char *error, size_t error_size);
void *listener_owner(const struct listener *listener);
/* Stops listening, removes the socket file, frees the listener by itself. */
void listener_close(struct listener *listener);

#endif
