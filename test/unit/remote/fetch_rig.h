/* What tests of sources on servers share: an image, a server for it in threads, and reads of it
 * by way of the source, whatever the protocol. */
#ifndef TEST_FETCH_RIG_H
#define TEST_FETCH_RIG_H

#include <stdatomic.h>
#include <stdbool.h>

#define RIG_SIZE (2u * 1000 * 1000 + 11)

extern unsigned char rig_content[RIG_SIZE];
extern atomic_uint rig_trouble_every; /* each so-manieth answer goes wrong; 0: none */

/* As loopback_start(); the image is SCHEME://127.0.0.1:PORT/image. */
int rig_start(const char *scheme, void *(*serve)(void *fd));
int rig_stop(void **state);

void rig_check_contract(bool cached);
/* Forty reads while every so-manieth answer goes wrong: all are right, and some were tried again. */
void rig_check_troubles(unsigned every);

#endif
