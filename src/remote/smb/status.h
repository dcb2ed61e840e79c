/*
 * What an NT status of a file server means to somebody who inserts an image: a reason, words, and
 * what to do. Values as in MS-ERREF 2.3.1.
 */
#ifndef REMOTE_SMB_STATUS_H
#define REMOTE_SMB_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#define SMB_STATUS_SESSION_EXPIRED 0xc000035cu

struct smb_status {
    uint32_t status;
    bool transient;
    int reason; /* a negative errno */
    const char *words;
};

/* NULL: the status has no entry. */
const struct smb_status *smb_status_find(uint32_t status);

#endif
