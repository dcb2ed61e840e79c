/*
 * What an NFS server answered, in one form for versions 3 and 4 and the services beside it,
 * and how its errors are judged. Pure.
 */
#ifndef REMOTE_NFS_REPLY_H
#define REMOTE_NFS_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/remote.h"

#define NFS_HANDLE_MAX      128 /* NFS4_FHSIZE; of version 3 64 */
#define NFS_LINK_MAX        1024
#define NFS_REPLY_ERROR_MAX 256

enum nfs_type { NFS_FILE, NFS_FOLDER, NFS_LINK, NFS_OTHER };

struct nfs_handle {
    uint32_t length;
    unsigned char data[NFS_HANDLE_MAX];
};

/* What a file is; any difference means that it may have other bytes. The file system's ID is left out,
 * since some servers make it anew when they start. */
struct nfs_attributes {
    bool known;
    enum nfs_type type;
    uint64_t size;
    uint64_t change; /* version 4; else 0 */
    uint64_t fileid;
    int64_t mtime, ctime;
    uint32_t mtime_ns, ctime_ns;
};

struct nfs_reply {
    enum remote_verdict verdict;
    int reason; /* as in struct remote_request */
    char error[NFS_REPLY_ERROR_MAX];
    bool unsupported; /* the server does not speak this version */

    struct nfs_handle handle;
    struct nfs_attributes attributes;
    char link[NFS_LINK_MAX];
    uint32_t port;
    uint32_t read_max; /* 0: not told */
    const void *data;  /* of a read; valid in `done` */
    uint32_t length;
    bool eof;
};

/* Judges a status of version 3 or 4 (RFC 1813, 2.6; RFC 7530, 13); nothing happens with 0. */
void nfs_judge(struct nfs_reply *reply, uint32_t status);
__attribute__((format(printf, 3, 4))) void nfs_refuse(struct nfs_reply *reply, int reason, const char *format, ...);
/* False, and refused: the length is none that a handle has. */
bool nfs_take_handle(struct nfs_reply *reply, const void *data, uint32_t length, uint32_t max);
/* False, and refused: the link is too long, or no text. */
bool nfs_take_link(struct nfs_reply *reply, const char *text, size_t length);

/* A file's type, whose number is the same in both versions (RFC 1813, 2.5; RFC 7530, 2.2.4). */
enum nfs_type nfs_type_of(uint32_t number);
bool nfs_same_file(const struct nfs_attributes *a, const struct nfs_attributes *b);
void nfs_version_text(const struct nfs_attributes *attributes, char text[REMOTE_VERSION_MAX]);

#endif
