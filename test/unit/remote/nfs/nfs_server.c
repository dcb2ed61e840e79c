#include "nfs_server.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../loopback.h"

#define MESSAGE_MAX   (1u << 20)
#define PROGRAM_NFS   100003
#define PROGRAM_MOUNT 100005

unsigned char nfs_server_content[NFS_SERVER_SIZE];
_Atomic enum nfs_trouble nfs_server_trouble;
atomic_uint nfs_server_reads, nfs_server_uid, nfs_server_gid, nfs_server_read_max = 256u << 10;

enum node { NONE, EXPORTS, IMAGE, LINK, ABSOLUTE, UP, LOOP, EMPTY, DEVICE, SECRET, FOLDER, ROOT };
enum { TYPE_FILE = 1, TYPE_FOLDER = 2, TYPE_DEVICE = 3, TYPE_LINK = 5 };

static const struct {
    const char *name, *link;
    unsigned type;
} nodes[] = {
    [EXPORTS] = {"exports", NULL, TYPE_FOLDER},
    [IMAGE] = {"image", NULL, TYPE_FILE},
    [LINK] = {"link", "image", TYPE_LINK},
    [ABSOLUTE] = {"absolute", "/exports/image", TYPE_LINK},
    [UP] = {"up", "../exports/image", TYPE_LINK},
    [LOOP] = {"loop", "loop", TYPE_LINK},
    [EMPTY] = {"empty", NULL, TYPE_FILE},
    [DEVICE] = {"device", NULL, TYPE_DEVICE},
    [SECRET] = {"secret", NULL, TYPE_FILE},
    [FOLDER] = {"folder", NULL, TYPE_FOLDER},
    [ROOT] = {"", NULL, TYPE_FOLDER},
};

/* --- XDR --- */

struct in {
    const unsigned char *next, *end;
};

struct out {
    unsigned char *data;
    size_t used;
};

static uint32_t get(struct in *in)
{
    uint32_t value = 0;
    if (in->end - in->next >= 4) {
        memcpy(&value, in->next, 4);
        in->next += 4;
    }
    return ntohl(value);
}

static uint64_t get64(struct in *in)
{
    uint64_t high = get(in);
    return high << 32 | get(in);
}

static const void *get_bytes(struct in *in, uint32_t *length)
{
    *length = get(in);
    const void *bytes = in->next;
    if (*length > (size_t)(in->end - in->next))
        *length = 0;
    in->next += (*length + 3) & ~3u;
    return bytes;
}

static void put(struct out *out, uint32_t value)
{
    value = htonl(value);
    memcpy(out->data + out->used, &value, 4);
    out->used += 4;
}

static void put64(struct out *out, uint64_t value)
{
    put(out, (uint32_t)(value >> 32));
    put(out, (uint32_t)value);
}

static void put_bytes(struct out *out, const void *bytes, uint32_t length)
{
    put(out, length);
    memset(out->data + out->used, 0, (length + 3) & ~3u);
    memcpy(out->data + out->used, bytes, length);
    out->used += (length + 3) & ~3u;
}

/* --- the tree --- */

static void put_handle(struct out *out, enum node node)
{
    char handle[4000] = {'h', (char)node, 'x'};
    put_bytes(out, handle, nfs_server_trouble == NFS_HANDLE_LONG ? sizeof handle : 3);
}

static enum node get_handle(struct in *in)
{
    uint32_t length;
    const char *handle = get_bytes(in, &length);
    return length == 3 ? (enum node)handle[1] : NONE;
}

static enum node child(enum node folder, const char *name, uint32_t length)
{
    if (folder == ROOT)
        return length == 7 && memcmp(name, "exports", 7) == 0 ? EXPORTS : NONE;
    for (enum node n = IMAGE; folder == EXPORTS && n < ROOT; n++)
        if (strlen(nodes[n].name) == length && memcmp(nodes[n].name, name, length) == 0)
            return n;
    return NONE;
}

static uint64_t size_of(enum node node)
{
    return node == IMAGE || node == SECRET ? NFS_SERVER_SIZE : 0;
}

static uint64_t size_told(enum node node, bool reading)
{
    enum nfs_trouble trouble = nfs_server_trouble;
    return trouble == NFS_SIZE_MAX               ? UINT64_MAX
           : trouble == NFS_SIZE_NEGATIVE        ? (uint64_t)INT64_MIN
           : trouble == NFS_TRUNCATED && reading ? 0
                                                 : size_of(node);
}

static uint32_t ctime_of(bool reading)
{
    return reading && nfs_server_trouble == NFS_CHANGED ? 2001 : 1000;
}

static void put_fattr3(struct out *out, enum node node, bool reading)
{
    put(out, nodes[node].type);
    put(out, 0644);
    for (int i = 0; i < 3; i++)
        put(out, 1);
    put64(out, size_told(node, reading));
    put64(out, size_of(node));
    put64(out, 0);
    put64(out, 7);
    put64(out, node);
    for (int i = 0; i < 3; i++) {
        put(out, ctime_of(reading));
        put(out, 5);
    }
}

static void put_post_op(struct out *out, enum node node, bool reading)
{
    bool given = nfs_server_trouble != NFS_NO_ATTRIBUTES;
    put(out, given);
    if (given)
        put_fattr3(out, node, reading);
}

static void put_fattr4(struct out *out, enum node node, bool reading)
{
    struct out values = {malloc(256), 0};
    put(&values, nodes[node].type);
    put64(&values, reading && nfs_server_trouble == NFS_CHANGED ? 12 : 11);
    put64(&values, size_told(node, reading));
    put64(&values, node);
    put64(&values, nfs_server_read_max);
    for (int i = 0; i < 2; i++) {
        put64(&values, ctime_of(reading));
        put(&values, 5);
    }
    put(out, 2);
    put(out, 1u << 1 | 1u << 3 | 1u << 4 | 1u << 20 | 1u << 30);
    put(out, 1u << 20 | 1u << 21);
    put_bytes(out, values.data, (uint32_t)values.used);
    free(values.data);
}

/* What a READ answers with: a status, or how many bytes. */
struct reading {
    uint32_t status, length, said;
    bool end, hang_up;
};

static struct reading read_of(enum node node, uint64_t offset, uint32_t count)
{
    struct reading r = {0};
    enum nfs_trouble trouble = nfs_server_trouble;
    unsigned number = ++nfs_server_reads;
    uint64_t rest = offset < size_of(node) ? size_of(node) - offset : 0;
    r.length = count < rest ? count : (uint32_t)rest;
    if (r.length > nfs_server_read_max)
        r.length = nfs_server_read_max;
    r.end = r.length == rest;
    if (trouble == NFS_SHORT && r.length > 1) {
        r.length = r.length / 2;
        r.end = false;
    } else if (trouble == NFS_LONG) {
        r.length = count + 4096;
    } else if (trouble == NFS_NOTHING || trouble == NFS_EARLY_END) {
        r.length = 0;
        r.end = trouble == NFS_EARLY_END;
    }
    r.said = trouble == NFS_BEYOND ? MESSAGE_MAX * 2 : trouble == NFS_NEGATIVE ? UINT32_MAX : r.length;
    if (node == SECRET)
        r.status = 13;
    else if (number % 20 == 0 && trouble == NFS_BUSY)
        r.status = 10008;
    else if (number % 20 == 0 && trouble == NFS_STALE)
        r.status = 70;
    r.hang_up = number % 40 == 0 && trouble == NFS_HANG_UP;
    return r;
}

static void put_data(struct out *out, const struct reading *r, uint64_t offset)
{
    size_t at = out->used;
    uint64_t here = offset < NFS_SERVER_SIZE ? NFS_SERVER_SIZE - offset : 0;
    static const unsigned char more[MESSAGE_MAX / 2];
    if (r->length <= here)
        put_bytes(out, nfs_server_content + offset, r->length);
    else
        put_bytes(out, more, r->length);
    size_t after = out->used;
    out->used = at;
    put(out, r->said);
    out->used = after;
}

/* --- version 3 and the mount service; false: hang up --- */

static bool answer_3(struct in *in, struct out *out, unsigned procedure)
{
    enum node node = get_handle(in);
    uint32_t length;
    if (procedure == 1) {
        put(out, 0);
        put_fattr3(out, node, false);
    } else if (procedure == 3) {
        const char *name = get_bytes(in, &length);
        node = child(node, name, length);
        put(out, node ? 0 : 2);
        if (node)
            put_handle(out, node);
        put_post_op(out, node ? node : EXPORTS, false);
        if (node)
            put(out, 0);
    } else if (procedure == 5) {
        put(out, 0);
        put_post_op(out, node, false);
        put_bytes(out, nodes[node].link, (uint32_t)strlen(nodes[node].link));
    } else if (procedure == 19) {
        put(out, 0);
        put_post_op(out, node, false);
        for (int i = 0; i < 7; i++)
            put(out, nfs_server_read_max);
        put64(out, UINT64_MAX);
        put64(out, 1);
        put(out, 0);
    } else if (procedure == 6) {
        uint64_t offset = get64(in);
        struct reading r = read_of(node, offset, get(in));
        put(out, r.status);
        put_post_op(out, node, true);
        if (r.status == 0) {
            put(out, r.said);
            put(out, r.end);
            put_data(out, &r, offset);
        }
        return !r.hang_up;
    }
    return true;
}

static void answer_mount(struct in *in, struct out *out)
{
    uint32_t length;
    const char *path = get_bytes(in, &length);
    bool found = length == 8 && memcmp(path, "/exports", 8) == 0;
    put(out, found ? 0 : 2);
    if (found) {
        put_handle(out, EXPORTS);
        put(out, 1);
        put(out, 1);
    }
}

/* --- version 4 --- */

/* The status of one operation; its result follows when that is 0. */
static uint32_t operate(struct in *in, struct out *out, unsigned op, enum node *here, bool *hang_up, bool *reading)
{
    uint32_t length;
    size_t status_at = out->used;
    put(out, 0);
    uint32_t status = 0;
    if (op == 24) {
        *here = ROOT;
    } else if (op == 22) {
        *here = get_handle(in);
    } else if (op == 15) {
        const char *name = get_bytes(in, &length);
        *here = child(*here, name, length);
        status = *here ? 0 : 2;
    } else if (op == 10) {
        put_handle(out, *here);
    } else if (op == 9) {
        for (uint32_t words = get(in); words > 0; words--)
            get(in);
        put_fattr4(out, *here, *reading);
    } else if (op == 27) {
        put_bytes(out, nodes[*here].link, (uint32_t)strlen(nodes[*here].link));
    } else if (op == 25) {
        in->next += 16;
        uint64_t offset = get64(in);
        struct reading r = read_of(*here, offset, get(in));
        status = r.status;
        *hang_up = r.hang_up;
        *reading = true;
        if (status == 0) {
            put(out, r.end);
            put_data(out, &r, offset);
        }
    } else {
        status = 10044;
    }
    if (status) {
        out->used = status_at;
        put(out, status);
    }
    return status;
}

static bool answer_4(struct in *in, struct out *out)
{
    uint32_t length, status = 0, done = 0;
    enum node here = NONE;
    bool hang_up = false, reading = false;
    get_bytes(in, &length);
    get(in);
    uint32_t count = get(in);
    size_t status_at = out->used;
    put(out, 0);
    put(out, 0);
    put(out, 0);
    for (; done < count && status == 0; done++) {
        unsigned op = get(in);
        put(out, op);
        status = operate(in, out, op, &here, &hang_up, &reading);
    }
    size_t end = out->used;
    out->used = status_at;
    put(out, status);
    put(out, 0);
    put(out, done);
    out->used = end;
    return !hang_up;
}

/* --- RPC --- */

static void note_credentials(const void *bytes, uint32_t length)
{
    struct in in = {bytes, (const unsigned char *)bytes + length};
    uint32_t name;
    get(&in);
    get_bytes(&in, &name);
    nfs_server_uid = get(&in);
    nfs_server_gid = get(&in);
}

static bool answer(struct in *in, struct out *out)
{
    uint32_t xid = get(in), length;
    get(in);
    get(in);
    uint32_t program = get(in), version = get(in), procedure = get(in);
    get(in);
    const void *credentials = get_bytes(in, &length);
    note_credentials(credentials, length);
    get(in);
    get_bytes(in, &length);
    put(out, nfs_server_trouble == NFS_STRANGER ? xid + 77 : xid);
    put(out, 1);
    if (nfs_server_trouble == NFS_DENIED) {
        put(out, 1);
        put(out, 1);
        put(out, 1);
        return true;
    }
    put(out, 0);
    put64(out, 0);
    if (program == PROGRAM_NFS && version == 4 && nfs_server_trouble == NFS_OTHER_VERSION) {
        put(out, 2);
        put(out, 3);
        put(out, 3);
        return true;
    }
    put(out, 0);
    if (program == PROGRAM_MOUNT)
        answer_mount(in, out);
    else
        return version == 4 ? answer_4(in, out) : answer_3(in, out, procedure);
    return true;
}

static bool send_record(int fd, struct out *out)
{
    uint32_t marker;
    enum nfs_trouble trouble = nfs_server_trouble;
    if (trouble == NFS_SILENT)
        return true;
    if (trouble == NFS_CUT)
        out->used = (out->used / 2) & ~3u;
    if (trouble == NFS_BARE)
        out->used = 24;
    if (trouble == NFS_NOISE)
        for (size_t i = 0; i < out->used; i++)
            out->data[i] = (unsigned char)random();
    if (trouble == NFS_PIECEMEAL)
        out->used = MESSAGE_MAX / 4;
    marker = htonl(trouble == NFS_HUGE        ? 0xffffffff
                   : trouble == NFS_PIECEMEAL ? (uint32_t)out->used
                                              : 0x80000000u | (uint32_t)out->used);
    do {
        if (!loopback_send(fd, &marker, 4) || !loopback_send(fd, out->data, out->used))
            return false;
    } while (trouble == NFS_PIECEMEAL);
    return true;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    unsigned char *request = calloc(1, MESSAGE_MAX), *reply = calloc(1, MESSAGE_MAX);
    uint32_t marker;
    while (loopback_receive(fd, &marker, 4)) {
        uint32_t length = ntohl(marker) & 0x7fffffff;
        if (length > MESSAGE_MAX || !loopback_receive(fd, request, length))
            break;
        struct in in = {request, request + length};
        struct out out = {reply, 0};
        if (!answer(&in, &out) || !send_record(fd, &out))
            break;
    }
    free(request);
    free(reply);
    close(fd);
    return NULL;
}

unsigned nfs_server_start(void)
{
    for (unsigned i = 0; i < NFS_SERVER_SIZE; i++)
        nfs_server_content[i] = (unsigned char)random();
    return loopback_start(serve);
}

void nfs_server_stop(void)
{
    loopback_stop();
}
