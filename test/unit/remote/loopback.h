/* The TCP server of a test, whatever it speaks: on loopback, with a thread for each connection. One in a process. */
#ifndef TEST_REMOTE_LOOPBACK_H
#define TEST_REMOTE_LOOPBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of it; false: the connection ended. */
bool loopback_send(int fd, const void *data, size_t length);
bool loopback_receive(int fd, void *data, size_t length);

int loopback_listen(uint16_t *port); /* a socket beside the server's; or -1 */
/* `serve` gets each connection's fd, which it closes. The port; 0: there is no server. What is sent goes at once: with
 * Nagle's algorithm an answer in two pieces waits 40 ms for the peer's acknowledgement. */
uint16_t loopback_start(void *(*serve)(void *fd));
int loopback_stop(void); /* 0 */

#endif
