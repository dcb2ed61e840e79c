#include "remote/nfs/find.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

struct nfs_find {
    const struct nfs_find_options *options;
    void (*done)(void *owner, struct nfs_found *found);
    void *owner;

    struct resolve *resolve;
    struct dial *dial; /* tries which of the name's several addresses is there */
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX];
    unsigned address_count, address_at;

    const struct nfs_protocol *protocol;
    struct nfs_rpc *rpc;
    struct nfs_call *call;
    uint64_t asked_us, round_trip_us;
    const char *about; /* which service is asked, for errors: "" or "rpcbind: " */

    char path[NFS_PATH_MAX]; /* the path, with the links followed so far */
    unsigned links;
    unsigned head;          /* version 3: so many names are asked of the mount service */
    bool denied;            /* the mount service denied one of them */
    unsigned name;          /* the next one to look up in `here` */
    struct nfs_handle here; /* a folder; in the end the file */
    struct nfs_handle node; /* just looked up */
    uint32_t read_max;
    bool fell_back;          /* from version 4 to 3 */
    struct nfs_reply before; /* what version 4 had said, if fell_back */
};

static void find_begin(struct nfs_find *find);
static void find_failed(struct nfs_find *find, const struct nfs_reply *reply);

/* --- sessions --- */

struct nfs_session *nfs_session_ref(struct nfs_session *session)
{
    session->refs++;
    return session;
}

void nfs_session_unref(struct nfs_session *session)
{
    if (!session || --session->refs > 0)
        return;
    nfs_rpc_close(session->rpc);
    mem_free(session);
}

/* --- its end --- */

static void nfs_find_end(struct nfs_find *find, struct nfs_found *found)
{
    void (*done)(void *owner, struct nfs_found *found) = find->done;
    void *owner = find->owner;
    nfs_rpc_close(find->rpc);
    mem_free(find);
    done(owner, found);
}

static void find_fail(struct nfs_find *find, int reason, const char *text)
{
    struct nfs_reply reply = {0};
    nfs_refuse(&reply, reason, "%s", text);
    find_failed(find, &reply);
}

/* The trees of versions 4 and 3 may differ; and not all servers speak both. */
static bool may_fall_back(const struct nfs_find *find, const struct nfs_reply *reply)
{
    bool free_choice = find->options->version == 0 && find->options->address.version == 0;
    bool elsewhere = reply->reason == -ENOENT && find->name == 0 && find->links == 0;
    return free_choice && find->protocol == &nfs_protocol_4 && (reply->unsupported || elsewhere);
}

static void find_failed(struct nfs_find *find, const struct nfs_reply *reply)
{
    if (find->rpc && !nfs_rpc_connected(find->rpc) && find->address_at + 1 < find->address_count) {
        find->address_at++;
        find_begin(find);
        return;
    }
    if (may_fall_back(find, reply)) {
        find->fell_back = true;
        find->before = *reply;
        find->protocol = &nfs_protocol_3;
        find_begin(find);
        return;
    }
    /* "No such file" from version 4 helps more than that version 3 isn't there. */
    const struct nfs_reply *tell = find->fell_back && !find->before.unsupported ? &find->before : reply;
    struct nfs_found found = {.verdict = tell->verdict == REMOTE_MOVED ? REMOTE_TRANSIENT : tell->verdict,
                              .reason = tell->reason};
    snprintf(found.error, sizeof found.error, "%s%s", tell == reply ? find->about : "", tell->error);
    nfs_find_end(find, &found);
}

/* Takes the attributes that were told last, which may differ from those at the lookup. */
static void find_succeed(struct nfs_find *find, const struct nfs_attributes *attributes)
{
    if (attributes->type != NFS_FILE || attributes->size == 0) {
        find_fail(find, 0, "the image changed on the server while it was opened (try again)");
        return;
    }
    if (attributes->size > INT64_MAX) {
        find_fail(find, -EFBIG, "the server tells a size that no file has");
        return;
    }
    struct nfs_session *session = mem_alloc(sizeof *session);
    struct nfs_found found = {.verdict = REMOTE_OK, .session = session, .round_trip_us = find->round_trip_us};
    *session = (struct nfs_session){
        .refs = 1,
        .protocol = find->protocol,
        .rpc = find->rpc,
        .handle = find->here,
        .attributes = *attributes,
        .read_max = find->read_max,
    };
    find->rpc = NULL;
    nfs_find_end(find, &found);
}

/* --- asking --- */

static void find_connect(struct nfs_find *find, uint16_t port, const char *about)
{
    nfs_rpc_close(find->rpc);
    find->rpc = nfs_rpc_new(&find->options->rpc, (const struct sockaddr *)&find->addresses[find->address_at], port);
    find->about = about;
}

static void find_connect_nfs(struct nfs_find *find)
{
    uint16_t port = find->options->address.port;
    find_connect(find, port ? port : NFS_PORT, "");
}

static void find_wait(struct nfs_find *find, struct nfs_call *call)
{
    find->call = call;
    find->asked_us = uv_hrtime() / 1000;
}

/* False: it failed, and `find` is no more, or began anew. */
static bool find_got(struct nfs_find *find, const struct nfs_reply *reply)
{
    find->call = NULL;
    find->round_trip_us = uv_hrtime() / 1000 - find->asked_us;
    if (reply->verdict == REMOTE_OK)
        return true;
    find_failed(find, reply);
    return false;
}

/* --- the file: may it be read? --- */

static void on_file_attributes(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    if (find_got(find, reply))
        find_succeed(find, &reply->attributes);
}

static void on_first_byte(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    if (!find_got(find, reply))
        return;
    if (reply->length != 1)
        find_fail(find, 0, "the server does not give the first byte");
    else if (reply->attributes.known)
        find_succeed(find, &reply->attributes);
    else
        find_wait(find, find->protocol->attributes(find->rpc, &find->here, on_file_attributes, find));
}

static void on_limits(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    if (!find_got(find, reply))
        return;
    find->read_max = reply->read_max;
    find_wait(find, find->protocol->read(find->rpc, &find->here, 0, 1, on_first_byte, find));
}

/* --- the walk --- */

static void on_node(void *owner, const struct nfs_reply *reply);

static void find_walk(struct nfs_find *find)
{
    char name[NFS_NAME_MAX];
    nfs_path_name(find->path, find->name, name);
    find_wait(find, find->protocol->lookup(find->rpc, &find->here, name, on_node, find));
}

static void on_link(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    char folder[NFS_PATH_MAX], done[NFS_PATH_MAX], text[NFS_LINK_MAX + NFS_PATH_MAX], path[NFS_PATH_MAX];
    if (!find_got(find, reply))
        return;
    nfs_path_head(find->path, find->name, folder);
    nfs_path_head(find->path, find->name + 1, done);
    snprintf(text, sizeof text, "%s%s", reply->link, find->path + strlen(done));
    if (++find->links > NFS_LINKS_MAX || !nfs_path_join(folder, text, path)) {
        find_fail(find, -ELOOP, "the path leads through too many symbolic links");
        return;
    }
    memcpy(find->path, path, sizeof find->path);
    find_begin(find);
}

static void find_enter(struct nfs_find *find, const struct nfs_attributes *node)
{
    bool last = find->name + 1 >= nfs_path_count(find->path);
    if (node->type == NFS_LINK) {
        find_wait(find, find->protocol->readlink(find->rpc, &find->node, on_link, find));
        return;
    }
    find->here = find->node;
    if (node->type == NFS_FOLDER && !last) {
        find->name++;
        find_walk(find);
    } else if (node->type == NFS_FOLDER) {
        find_fail(find, -EISDIR, "this is a folder, not an image");
    } else if (!last) {
        find_fail(find, -ENOENT, "a part of the path is not a folder (check the path of the URL)");
    } else if (node->type != NFS_FILE) {
        find_fail(find, -EINVAL, "this is a device, a socket or a pipe, not an image");
    } else if (node->size == 0) {
        find_fail(find, 0, "the image is empty");
    } else {
        find_wait(find, find->protocol->limits(find->rpc, &find->here, on_limits, find));
    }
}

static void on_node_attributes(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    if (find_got(find, reply))
        find_enter(find, &reply->attributes);
}

static void on_node(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    if (!find_got(find, reply))
        return;
    find->node = reply->handle;
    if (reply->attributes.known)
        find_enter(find, &reply->attributes);
    else
        find_wait(find, find->protocol->attributes(find->rpc, &find->node, on_node_attributes, find));
}

/* --- where the walk begins --- */

static void on_root(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    if (!find_got(find, reply))
        return;
    find->here = reply->handle;
    find_walk(find);
}

static void on_mounted(void *owner, const struct nfs_reply *reply);

static void find_mount(struct nfs_find *find)
{
    char folder[NFS_PATH_MAX];
    nfs_path_head(find->path, find->head, folder);
    find_wait(find, nfs_ask_mount(find->rpc, folder, on_mounted, find));
}

static void on_mounted(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    bool refused = reply->verdict == REMOTE_REFUSED && !reply->unsupported;
    find->denied |= refused && reply->reason == -EACCES;
    if (refused && find->head > 0) {
        find->head--;
        find_mount(find);
    } else if (refused && find->denied) {
        find->call = NULL;
        find_fail(find, -EACCES, "the server exports no folder of this path to this machine (check its exports)");
    } else if (find_got(find, reply)) {
        find->here = reply->handle;
        find->name = find->head;
        find_connect_nfs(find);
        find_walk(find);
    }
}

static void find_connect_mount(struct nfs_find *find, uint16_t port)
{
    find->head = nfs_path_count(find->path) - 1;
    find->denied = false;
    find_connect(find, port, "the mount service: ");
    find_mount(find);
}

static void on_mount_port(void *owner, const struct nfs_reply *reply)
{
    struct nfs_find *find = owner;
    if (!find_got(find, reply))
        return;
    if (reply->port > 0)
        find_connect_mount(find, (uint16_t)reply->port);
    else
        find_fail(find, 0, "the server has no mount service, which version 3 needs (try version=4)");
}

/* With the path as it is now. */
static void find_begin(struct nfs_find *find)
{
    find->name = 0;
    if (nfs_path_count(find->path) == 0) {
        find_fail(find, -EISDIR, "this is a folder, not an image");
    } else if (find->protocol == &nfs_protocol_4) {
        find_connect_nfs(find);
        find_wait(find, find->protocol->lookup(find->rpc, NULL, NULL, on_root, find));
    } else if (find->options->address.mount_port) {
        find_connect_mount(find, find->options->address.mount_port);
    } else {
        find_connect(find, RPCBIND_PORT, "rpcbind (give mountport= where it can't be asked): ");
        find_wait(find, nfs_ask_mount_port(find->rpc, on_mount_port, find));
    }
}

/* An address that refuses a connection is there all the same: version 3 may have another port. */
static void on_nfs_find_raced(void *owner, const struct dial_result *result)
{
    struct nfs_find *find = owner;
    struct nfs_reply reply = {0};
    find->dial = NULL;
    if (result->address) {
        close(result->fd);
        find->addresses[0] = *result->address;
        find->address_count = 1;
    } else if (result->fd != -ECONNREFUSED) {
        nfs_refuse(&reply, result->fd, "%.*s", NFS_REPLY_ERROR_MAX - 1, result->error);
        reply.verdict = REMOTE_TRANSIENT;
        find_failed(find, &reply);
        return;
    }
    find_begin(find);
}

static uint16_t first_port(const struct nfs_find *find)
{
    const struct nfs_address *address = &find->options->address;
    if (find->protocol == &nfs_protocol_4)
        return address->port ? address->port : NFS_PORT;
    return address->mount_port ? address->mount_port : RPCBIND_PORT;
}

static void on_nfs_find_resolved(void *owner, const struct resolve_result *result)
{
    struct nfs_find *find = owner;
    find->resolve = NULL;
    if (result->status != 0) {
        struct nfs_reply reply = {0};
        nfs_refuse(&reply, result->status == -EAGAIN ? 0 : result->status, "%.*s", NFS_REPLY_ERROR_MAX - 1,
                   result->error);
        if (result->status != -EPERM)
            reply.verdict = REMOTE_TRANSIENT;
        find_failed(find, &reply);
        return;
    }
    memcpy(find->addresses, result->addresses, sizeof find->addresses);
    find->address_count = result->count;
    if (result->count > 1)
        find->dial = dial_race_new(find->options->rpc.loop, result, first_port(find),
                                   find->options->rpc.connect_timeout_ms, on_nfs_find_raced, find);
    else
        find_begin(find);
}

struct nfs_find *nfs_find_start(const struct nfs_find_options *options,
                                void (*done)(void *owner, struct nfs_found *found), void *owner)
{
    struct nfs_find *find = mem_alloc(sizeof *find);
    unsigned version = options->address.version ? options->address.version : options->version;
    find->options = options;
    find->done = done;
    find->owner = owner;
    find->about = "";
    find->protocol = version == 3 ? &nfs_protocol_3 : &nfs_protocol_4;
    memcpy(find->path, options->address.path, sizeof find->path);
    find->resolve = resolve_start(options->rpc.loop, options->address.host, options->local, on_nfs_find_resolved, find);
    return find;
}

void nfs_find_cancel(struct nfs_find *find)
{
    if (!find)
        return;
    resolve_cancel(find->resolve);
    dial_cancel(find->dial);
    nfs_call_cancel(find->call);
    nfs_rpc_close(find->rpc);
    mem_free(find);
}
