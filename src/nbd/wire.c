#include "nbd/wire.h"

#include <errno.h>

void nbd_put16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

void nbd_put32(uint8_t *to, uint32_t value)
{
    nbd_put16(to, (uint16_t)(value >> 16));
    nbd_put16(to + 2, (uint16_t)value);
}

void nbd_put64(uint8_t *to, uint64_t value)
{
    nbd_put32(to, (uint32_t)(value >> 32));
    nbd_put32(to + 4, (uint32_t)value);
}

uint16_t nbd_get16(const uint8_t *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

uint32_t nbd_get32(const uint8_t *from)
{
    return (uint32_t)nbd_get16(from) << 16 | nbd_get16(from + 2);
}

uint64_t nbd_get64(const uint8_t *from)
{
    return (uint64_t)nbd_get32(from) << 32 | nbd_get32(from + 4);
}

bool nbd_decode_option(const uint8_t from[NBD_OPTION_SIZE], struct nbd_option_header *option)
{
    option->option = nbd_get32(from + 8);
    option->length = nbd_get32(from + 12);
    return nbd_get64(from) == NBD_OPTION_MAGIC;
}

bool nbd_decode_request(const uint8_t from[NBD_REQUEST_SIZE], struct nbd_request *request)
{
    request->flags = nbd_get16(from + 4);
    request->type = nbd_get16(from + 6);
    request->cookie = nbd_get64(from + 8);
    request->offset = nbd_get64(from + 16);
    request->length = nbd_get32(from + 24);
    return nbd_get32(from) == NBD_REQUEST_MAGIC;
}

/* A 32-bit length and that many bytes; what is left moves on. */
static bool take_string(const uint8_t **data, size_t *left, const char **string, uint32_t *length)
{
    if (*left < 4)
        return false;
    *length = nbd_get32(*data);
    *data += 4;
    *left -= 4;
    if (*length > *left)
        return false;
    *string = (const char *)*data;
    *data += *length;
    *left -= *length;
    return true;
}

bool nbd_decode_info(const uint8_t *data, size_t length, struct nbd_info_request *request)
{
    if (!take_string(&data, &length, &request->name, &request->name_length) || length < 2)
        return false;
    request->info_count = nbd_get16(data);
    request->infos = data + 2;
    return length - 2 == 2u * request->info_count && request->name_length <= NBD_NAME_MAX;
}

bool nbd_info_wanted(const struct nbd_info_request *request, uint16_t info)
{
    for (uint16_t i = 0; i < request->info_count; i++)
        if (nbd_get16(request->infos + 2 * i) == info)
            return true;
    return false;
}

bool nbd_decode_meta(const uint8_t *data, size_t length, struct nbd_meta_request *request)
{
    if (!take_string(&data, &length, &request->name, &request->name_length) || length < 4 ||
        request->name_length > NBD_NAME_MAX)
        return false;
    request->query_count = nbd_get32(data);
    request->queries = data + 4;
    data += 4;
    length -= 4;
    for (uint32_t i = 0; i < request->query_count; i++) {
        const char *query;
        uint32_t query_length;
        if (!take_string(&data, &length, &query, &query_length) || query_length > NBD_NAME_MAX)
            return false;
    }
    return length == 0;
}

void nbd_next_query(const uint8_t **at, const char **query, uint32_t *length)
{
    *length = nbd_get32(*at);
    *query = (const char *)*at + 4;
    *at += 4 + *length;
}

void nbd_encode_greeting(uint8_t to[NBD_GREETING_SIZE])
{
    nbd_put64(to, NBD_MAGIC);
    nbd_put64(to + 8, NBD_OPTION_MAGIC);
    nbd_put16(to + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

void nbd_encode_option_reply(uint8_t to[NBD_OPTION_REPLY_SIZE], uint32_t option, uint32_t reply, uint32_t length)
{
    nbd_put64(to, NBD_OPTION_REPLY_MAGIC);
    nbd_put32(to + 8, option);
    nbd_put32(to + 12, reply);
    nbd_put32(to + 16, length);
}

void nbd_encode_export(uint8_t to[NBD_EXPORT_SIZE], uint64_t size, uint16_t flags)
{
    nbd_put64(to, size);
    nbd_put16(to + 8, flags);
}

void nbd_encode_simple_reply(uint8_t to[NBD_SIMPLE_REPLY_SIZE], uint32_t error, uint64_t cookie)
{
    nbd_put32(to, NBD_SIMPLE_REPLY_MAGIC);
    nbd_put32(to + 4, error);
    nbd_put64(to + 8, cookie);
}

void nbd_encode_chunk(uint8_t to[NBD_CHUNK_SIZE], uint16_t flags, uint16_t type, uint64_t cookie, uint32_t length)
{
    nbd_put32(to, NBD_STRUCTURED_REPLY_MAGIC);
    nbd_put16(to + 4, flags);
    nbd_put16(to + 6, type);
    nbd_put64(to + 8, cookie);
    nbd_put32(to + 16, length);
}

/* doc/proto.md, "Error values". */
uint32_t nbd_error(int status)
{
    switch (-status) {
    case 0:
        return 0;
    case EPERM:
    case EROFS:
        return 1;
    case ENOMEM:
        return 12;
    case EINVAL:
        return 22;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return 28;
    case EOVERFLOW:
        return 75;
    case ENOTSUP:
        return 95;
    case ESHUTDOWN:
    case ECANCELED: /* the medium is being ejected */
        return 108;
    default:
        return 5;
    }
}

/* --- the client's side --- */

enum nbd_greeting nbd_decode_greeting(const uint8_t from[NBD_GREETING_SIZE], uint16_t *flags)
{
    *flags = nbd_get16(from + 16);
    if (nbd_get64(from) != NBD_MAGIC)
        return NBD_GREETING_UNKNOWN;
    if (nbd_get64(from + 8) == NBD_OPTION_MAGIC)
        return NBD_GREETING_NEWSTYLE;
    return nbd_get64(from + 8) == NBD_OLDSTYLE_MAGIC ? NBD_GREETING_OLDSTYLE : NBD_GREETING_UNKNOWN;
}

void nbd_encode_option(uint8_t to[NBD_OPTION_SIZE], uint32_t option, uint32_t length)
{
    nbd_put64(to, NBD_OPTION_MAGIC);
    nbd_put32(to + 8, option);
    nbd_put32(to + 12, length);
}

bool nbd_decode_option_reply(const uint8_t from[NBD_OPTION_REPLY_SIZE], struct nbd_option_answer *answer)
{
    answer->option = nbd_get32(from + 8);
    answer->reply = nbd_get32(from + 12);
    answer->length = nbd_get32(from + 16);
    return nbd_get64(from) == NBD_OPTION_REPLY_MAGIC;
}

void nbd_decode_export(const uint8_t from[NBD_EXPORT_SIZE], struct nbd_export *export)
{
    export->size = nbd_get64(from);
    export->flags = nbd_get16(from + 8);
}

bool nbd_decode_info_export(const uint8_t *data, size_t length, struct nbd_export *export)
{
    if (length != 2 + NBD_EXPORT_SIZE)
        return false;
    nbd_decode_export(data + 2, export);
    return true;
}

static bool power_of_two(uint32_t value)
{
    return value > 0 && (value & (value - 1)) == 0;
}

bool nbd_decode_info_block_size(const uint8_t *data, size_t length, struct nbd_block_sizes *sizes)
{
    if (length != 14)
        return false;
    sizes->minimum = nbd_get32(data + 2);
    sizes->preferred = nbd_get32(data + 6);
    sizes->maximum = nbd_get32(data + 10);
    return power_of_two(sizes->minimum) && sizes->minimum <= NBD_BLOCK_MAX && power_of_two(sizes->preferred) &&
           sizes->preferred >= sizes->minimum && sizes->maximum >= sizes->minimum;
}

void nbd_encode_request(uint8_t to[NBD_REQUEST_SIZE], const struct nbd_request *request)
{
    nbd_put32(to, NBD_REQUEST_MAGIC);
    nbd_put16(to + 4, request->flags);
    nbd_put16(to + 6, request->type);
    nbd_put64(to + 8, request->cookie);
    nbd_put64(to + 16, request->offset);
    nbd_put32(to + 24, request->length);
}

bool nbd_decode_simple_reply(const uint8_t from[NBD_SIMPLE_REPLY_SIZE], struct nbd_simple_reply *reply)
{
    reply->error = nbd_get32(from + 4);
    reply->cookie = nbd_get64(from + 8);
    return nbd_get32(from) == NBD_SIMPLE_REPLY_MAGIC;
}

int nbd_status(uint32_t error)
{
    switch (error) {
    case 0:
        return 0;
    case 1:
        return -EPERM;
    case 12:
        return -ENOMEM;
    case 22:
        return -EINVAL;
    case 28:
        return -ENOSPC;
    case 75:
        return -EOVERFLOW;
    case 95:
        return -ENOTSUP;
    case 108:
        return -ESHUTDOWN;
    default:
        return -EIO;
    }
}
