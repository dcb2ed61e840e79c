/*
 * XDR (RFC 4506) as NFS needs it. What is read is checked against the end of the answer, and each length
 * against its own bound, before anything is made of it. Pure.
 */
#ifndef REMOTE_NFS_XDR_H
#define REMOTE_NFS_XDR_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define XDR_OUT_MAX 2048 /* the longest question: a path of the mount service, with credentials */

struct xdr_in {
    const unsigned char *next, *end;
    bool bad; /* the answer ended too early, or a length is beyond its bound; from then on only zeroes are read */
};

struct xdr_out {
    size_t used;
    unsigned char data[XDR_OUT_MAX]; /* whoever writes knows that it fits */
};

static inline uint32_t xdr_u32(struct xdr_in *in)
{
    uint32_t value;
    if (in->bad || in->end - in->next < 4) {
        in->bad = true;
        return 0;
    }
    memcpy(&value, in->next, 4);
    in->next += 4;
    return ntohl(value);
}

static inline uint64_t xdr_u64(struct xdr_in *in)
{
    uint64_t high = xdr_u32(in);
    return high << 32 | xdr_u32(in);
}

/* At most `max` bytes of variable length; NULL with length 0: bad. */
static inline const unsigned char *xdr_bytes(struct xdr_in *in, uint32_t max, uint32_t *length)
{
    uint32_t n = xdr_u32(in);
    const unsigned char *bytes = in->next;
    size_t left = (size_t)(in->end - in->next), padded = ((size_t)n + 3) & ~(size_t)3;
    *length = 0;
    if (in->bad || n > max || padded > left) {
        in->bad = true;
        return NULL;
    }
    in->next += padded;
    *length = n;
    return bytes;
}

static inline void xdr_put_u32(struct xdr_out *out, uint32_t value)
{
    value = htonl(value);
    memcpy(out->data + out->used, &value, 4);
    out->used += 4;
}

static inline void xdr_put_u64(struct xdr_out *out, uint64_t value)
{
    xdr_put_u32(out, (uint32_t)(value >> 32));
    xdr_put_u32(out, (uint32_t)value);
}

static inline void xdr_put_bytes(struct xdr_out *out, const void *bytes, uint32_t length)
{
    uint32_t padded = (length + 3) & ~3u;
    xdr_put_u32(out, length);
    memset(out->data + out->used, 0, padded);
    memcpy(out->data + out->used, bytes, length);
    out->used += padded;
}

#endif
