/*
 * An NFS server in threads, that errs on command: versions 3 and 4.0 and the mount service, all on one
 * port of loopback. Its tree:
 *
 *   /exports/image     the content (more than one READ gives)
 *   /exports/link      -> image
 *   /exports/absolute  -> /exports/image
 *   /exports/up        -> ../exports/image
 *   /exports/loop      -> loop
 *   /exports/empty     no bytes
 *   /exports/device    a block device
 *   /exports/secret    nobody may read it
 *   /exports/folder    a folder
 */
#ifndef TEST_SOURCE_NFS_SERVER_H
#define TEST_SOURCE_NFS_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

#define NFS_SERVER_SIZE (2u * 1000 * 1000 + 11)

enum nfs_trouble {
    NFS_RIGHT,
    NFS_SHORT,         /* READs give half of what is asked for */
    NFS_LONG,          /* READs give more */
    NFS_NOTHING,       /* READs give no bytes, and no end */
    NFS_EARLY_END,     /* READs say that the file ends */
    NFS_BEYOND,        /* the length of the data leads beyond the answer */
    NFS_NEGATIVE,      /* that length is -1 */
    NFS_HANDLE_LONG,   /* handles of 4000 bytes */
    NFS_CUT,           /* every answer ends in its middle */
    NFS_BARE,          /* every answer has the RPC header only */
    NFS_STRANGER,      /* another xid */
    NFS_SILENT,        /* no answer at all */
    NFS_HUGE,          /* a record of 2 GiB is announced */
    NFS_PIECEMEAL,     /* without end: fragments of a record that is never complete */
    NFS_NOISE,         /* random bytes */
    NFS_HANG_UP,       /* every 20th READ closes the connection */
    NFS_BUSY,          /* every 20th READ is answered with JUKEBOX, DELAY */
    NFS_CHANGED,       /* READs tell of other times */
    NFS_STALE,         /* every 20th READ says that the handle is stale */
    NFS_NO_ATTRIBUTES, /* version 3 gives none but for GETATTR */
    NFS_DENIED,        /* RPC: the credentials are refused */
    NFS_SIZE_MAX,      /* every size is 2^64-1 */
    NFS_SIZE_NEGATIVE, /* every size is -2^63 */
    NFS_TRUNCATED,     /* READs tell that the file is empty */
    NFS_OTHER_VERSION, /* version 4 is not spoken */
};

extern unsigned char nfs_server_content[NFS_SERVER_SIZE];
extern _Atomic enum nfs_trouble nfs_server_trouble;
extern atomic_uint nfs_server_reads, nfs_server_uid, nfs_server_gid, nfs_server_read_max;

unsigned nfs_server_start(void); /* its port */
void nfs_server_stop(void);

#endif
