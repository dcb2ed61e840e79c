/*
 * A small SMB 2.1 server for guests, in threads: one share, one file. It can give less than asked for, hang up, and
 * have each of its answers changed before it is sent.
 */
#ifndef TEST_SOURCE_SMB_PEER_H
#define TEST_SOURCE_SMB_PEER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SMB_PEER_MESSAGE_MAX (2u << 20)

struct smb_peer_answer {
    uint16_t command;
    uint8_t *message; /* room for SMB_PEER_MESSAGE_MAX bytes */
    size_t length;
};

extern char smb_peer_url[96];
extern atomic_uint smb_peer_trouble; /* each so many READs one hangs up, and others give half; 0: none */
extern atomic_uint smb_peer_version; /* is the file's last write */
/* Called for each answer, from a thread; NULL: none is changed. */
extern void (*_Atomic smb_peer_lie)(struct smb_peer_answer *answer);

/* Serves `content`, which must outlive it. 0, or -1. */
int smb_peer_start(const unsigned char *content, uint64_t size);
int smb_peer_stop(void);

#endif
