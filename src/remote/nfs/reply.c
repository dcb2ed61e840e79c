#include "remote/nfs/reply.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct judgement {
    uint32_t status;
    enum remote_verdict verdict;
    int reason;
    const char *words;
} judgements[] = {
    {1, REMOTE_REFUSED, -EACCES,
     "the server denies access (check its export for this machine, the file's mode, nfs-uid and nfs-gid)"},
    {2, REMOTE_REFUSED, -ENOENT, "the server has no such file (check the path of the URL)"},
    {5, REMOTE_REFUSED, 0, "the server can't read the file (I/O error)"},
    {13, REMOTE_REFUSED, -EACCES,
     "the server denies access (check its export for this machine, the file's mode, nfs-uid and nfs-gid)"},
    {20, REMOTE_REFUSED, -ENOENT, "a part of the path is not a folder (check the path of the URL)"},
    {21, REMOTE_REFUSED, -EISDIR, "this is a folder, not an image"},
    {63, REMOTE_REFUSED, -ENOENT, "the server has no such file: its name is too long"},
    {70, REMOTE_MOVED, 0, "the file is gone from the server, or was replaced there (stale handle)"},
    {10001, REMOTE_MOVED, 0, "the server does not know the file any more (bad handle)"},
    {10006, REMOTE_TRANSIENT, 0, "the server has a fault of its own"},
    {10008, REMOTE_TRANSIENT, 0, "the server is busy"},
    {10012, REMOTE_TRANSIENT, 0, "another client of the server has locked the file"},
    {10013, REMOTE_TRANSIENT, 0, "the server was just started and lets nobody read yet (grace period)"},
    {10014, REMOTE_MOVED, 0, "the server does not know the file any more (expired handle)"},
    {10015, REMOTE_TRANSIENT, 0, "another client of the server lets nobody else read the file"},
    {10016, REMOTE_REFUSED, -EACCES, "the export wants other credentials than sec=sys (Kerberos is not supported)"},
    {10018, REMOTE_TRANSIENT, 0, "the server lacks the means just now"},
    {10019, REMOTE_REFUSED, -ENOENT, "the folder has moved to another server (give the URL there)"},
};

void nfs_refuse(struct nfs_reply *reply, int reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    reply->verdict = REMOTE_REFUSED;
    reply->reason = reason;
    vsnprintf(reply->error, sizeof reply->error, format, args);
    va_end(args);
}

void nfs_judge(struct nfs_reply *reply, uint32_t status)
{
    if (status == 0)
        return;
    nfs_refuse(reply, 0, "the server answered with error %" PRIu32, status);
    for (size_t i = 0; i < sizeof judgements / sizeof *judgements; i++) {
        const struct judgement *j = &judgements[i];
        if (j->status != status)
            continue;
        nfs_refuse(reply, j->reason, "%s", j->words);
        reply->verdict = j->verdict;
    }
}

bool nfs_take_handle(struct nfs_reply *reply, const void *data, uint32_t length, uint32_t max)
{
    if (length == 0 || length > max || length > sizeof reply->handle.data) {
        nfs_refuse(reply, 0, "the server sent a file handle of %" PRIu32 " bytes", length);
        return false;
    }
    reply->handle.length = length;
    memcpy(reply->handle.data, data, length);
    return true;
}

bool nfs_take_link(struct nfs_reply *reply, const char *text, size_t length)
{
    if (length == 0 || length >= sizeof reply->link || memchr(text, '\0', length)) {
        nfs_refuse(reply, 0, "the server sent a symbolic link that can't be followed");
        return false;
    }
    memcpy(reply->link, text, length);
    reply->link[length] = '\0';
    return true;
}

enum nfs_type nfs_type_of(uint32_t number)
{
    enum { REGULAR = 1, DIRECTORY = 2, LINK = 5 };
    return number == REGULAR ? NFS_FILE : number == DIRECTORY ? NFS_FOLDER : number == LINK ? NFS_LINK : NFS_OTHER;
}

bool nfs_same_file(const struct nfs_attributes *a, const struct nfs_attributes *b)
{
    return a->known && b->known && a->type == b->type && a->size == b->size && a->change == b->change &&
           a->fileid == b->fileid && a->mtime == b->mtime && a->mtime_ns == b->mtime_ns && a->ctime == b->ctime &&
           a->ctime_ns == b->ctime_ns;
}

void nfs_version_text(const struct nfs_attributes *a, char text[REMOTE_VERSION_MAX])
{
    snprintf(text, REMOTE_VERSION_MAX,
             "%" PRIu64 " %" PRIu64 " %" PRIx64 " %" PRId64 ".%09" PRIu32 " %" PRId64 ".%09" PRIu32, a->fileid, a->size,
             a->change, a->mtime, a->mtime_ns, a->ctime, a->ctime_ns);
}
