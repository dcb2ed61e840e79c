/*
 * An HTTP server on one end of a socket pair, or of a stream in memory, with a
 * handler that does something different for each path, and what its client sees.
 * Used by the tests and by the fuzz target.
 *
 *   /hello   answers "hello"           /info    tells what the request says
 *   /echo    takes at most 1000 bytes in one piece and gives them back
 *   /count   takes the body piece by piece, pausing, and tells its length
 *   /ignore  answers without the body  /later   is kept for http_rig.kept
 *   /chunks  streams of unknown length /big     streams BIG bytes, as they are taken
 *   /short   ends before its length    /bad     tries to split the answer
 *   /file    a content in memory       /switch  upgrades to an echo of bytes
 */
#ifndef TEST_NET_HTTP_RIG_H
#define TEST_NET_HTTP_RIG_H

#include "../net/memory_stream.h"
#include "http/content.h"
#include "http/server.h"

#define HTTP_RIG_BIG 3000000u

struct http_rig {
    uv_loop_t own_loop;
    uv_loop_t *loop;
    struct http_server *server;
    struct http_content content;
    int client; /* -1: none, or `peer` */
    struct memory_peer peer;
    bool ended; /* the server closed the connection */
    struct http_request *kept;
    struct stream *switched;
    uint64_t counted; /* /count */
    unsigned handled, gone, in_call;
    bool server_closing, server_closed;
};

extern const char http_rig_file[]; /* what /file has */

void http_rig_begin(struct http_rig *rig, const struct http_server_options *options);
/* The same without sockets, on a loop that stays the caller's and has its deferrals. */
void http_rig_begin_in_memory(struct http_rig *rig, uv_loop_t *loop);
void http_rig_connect(struct http_rig *rig);      /* another client, in the first one's place */
void http_rig_close_server(struct http_rig *rig); /* else http_rig_end() does it */
void http_rig_end(struct http_rig *rig);
/* Sends all, `split` bytes at a time (0: at once), collecting what comes. Dates are
 * blanked, "100 Continue" is left out unless `keep_continue`. */
size_t http_rig_talk(struct http_rig *rig, const void *input, size_t length, size_t split, char *output, size_t size);
size_t http_rig_collect(struct http_rig *rig, char *output, size_t size);
void http_rig_normalise(char *output, size_t *length);

#endif
