/*
 * The NBD protocol's numbers and messages (NBD project, doc/proto.md): pure
 * encoding and decoding, all integers big-endian. NBD's error numbers are known
 * here and nowhere else.
 */
#ifndef NBD_WIRE_H
#define NBD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_MAGIC 0x4e42444d41474943ull        /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC 0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC 0x0003e889045565a9ull
#define NBD_OLDSTYLE_MAGIC 0x00420281861253ull
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu

#define NBD_NAME_MAX 4096         /* proto.md, "Values": a string */
#define NBD_SIZE_MAX INT64_MAX    /* bytes of an export */
#define NBD_BLOCK_MAX (64u << 10) /* proto.md, "Block size constraints": the largest minimum */

enum { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 }; /* handshake, both directions */

enum nbd_option {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

enum nbd_option_reply {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META_CONTEXT = 4,
};
#define NBD_REP_ERROR 0x80000000u /* the bit that all errors have */
#define NBD_REP_ERR_UNSUP 0x80000001u
#define NBD_REP_ERR_INVALID 0x80000003u
#define NBD_REP_ERR_UNKNOWN 0x80000006u
#define NBD_REP_ERR_SHUTDOWN 0x80000007u
#define NBD_REP_ERR_TOO_BIG 0x80000009u

enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

enum { /* transmission flags */
    NBD_TX_HAS_FLAGS = 1 << 0,
    NBD_TX_READ_ONLY = 1 << 1,
    NBD_TX_SEND_FLUSH = 1 << 2,
    NBD_TX_SEND_FUA = 1 << 3,
    NBD_TX_SEND_TRIM = 1 << 5,
    NBD_TX_SEND_WRITE_ZEROES = 1 << 6,
    NBD_TX_SEND_DF = 1 << 7,
    NBD_TX_CAN_MULTI_CONN = 1 << 8,
    NBD_TX_SEND_CACHE = 1 << 10,
    NBD_TX_SEND_FAST_ZERO = 1 << 11,
};

enum nbd_command {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};
enum { NBD_CMD_FUA = 1, NBD_CMD_NO_HOLE = 2, NBD_CMD_DF = 4, NBD_CMD_REQ_ONE = 8, NBD_CMD_FAST_ZERO = 16 };

enum nbd_chunk { NBD_CHUNK_NONE = 0, NBD_CHUNK_OFFSET_DATA = 1, NBD_CHUNK_BLOCK_STATUS = 5, NBD_CHUNK_ERROR = 32769 };
enum { NBD_CHUNK_DONE = 1 };

#define NBD_GREETING_SIZE 18
#define NBD_CLIENT_FLAGS_SIZE 4
#define NBD_OPTION_SIZE 16
#define NBD_OPTION_REPLY_SIZE 20
#define NBD_EXPORT_SIZE 10 /* the answer to EXPORT_NAME; 124 zeroes follow without NO_ZEROES */
#define NBD_EXPORT_ZEROES 124
#define NBD_REQUEST_SIZE 28
#define NBD_SIMPLE_REPLY_SIZE 16
#define NBD_CHUNK_SIZE 20

void nbd_put16(uint8_t *to, uint16_t value);
void nbd_put32(uint8_t *to, uint32_t value);
void nbd_put64(uint8_t *to, uint64_t value);
uint16_t nbd_get16(const uint8_t *from);
uint32_t nbd_get32(const uint8_t *from);
uint64_t nbd_get64(const uint8_t *from);

/* --- the server's side --- */

struct nbd_option_header {
    uint32_t option, length;
};
/* False: bad magic. */
bool nbd_decode_option(const uint8_t from[NBD_OPTION_SIZE], struct nbd_option_header *option);

struct nbd_request {
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t length;
};
bool nbd_decode_request(const uint8_t from[NBD_REQUEST_SIZE], struct nbd_request *request); /* false: bad magic */

/* The data of INFO and GO: false if the lengths in it don't add up. */
struct nbd_info_request {
    const char *name; /* in the data, not terminated */
    uint32_t name_length;
    const uint8_t *infos; /* 16 bit each */
    uint16_t info_count;
};
bool nbd_decode_info(const uint8_t *data, size_t length, struct nbd_info_request *request);
bool nbd_info_wanted(const struct nbd_info_request *request, uint16_t info);

/* The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
struct nbd_meta_request {
    const char *name;
    uint32_t name_length;
    uint32_t query_count;
    const uint8_t *queries; /* length and string each, checked */
};
bool nbd_decode_meta(const uint8_t *data, size_t length, struct nbd_meta_request *request);
/* Walks the queries: *at starts at request->queries. */
void nbd_next_query(const uint8_t **at, const char **query, uint32_t *length);

void nbd_encode_greeting(uint8_t to[NBD_GREETING_SIZE]);
void nbd_encode_option_reply(uint8_t to[NBD_OPTION_REPLY_SIZE], uint32_t option, uint32_t reply, uint32_t length);
void nbd_encode_export(uint8_t to[NBD_EXPORT_SIZE], uint64_t size, uint16_t flags);
void nbd_encode_simple_reply(uint8_t to[NBD_SIMPLE_REPLY_SIZE], uint32_t error, uint64_t cookie);
void nbd_encode_chunk(uint8_t to[NBD_CHUNK_SIZE], uint16_t flags, uint16_t type, uint64_t cookie, uint32_t length);

/* NBD's number for a negative errno (0 for 0). An errno without a number becomes EIO. */
uint32_t nbd_error(int status);

/* --- the client's side --- */

enum nbd_greeting { NBD_GREETING_UNKNOWN, NBD_GREETING_OLDSTYLE, NBD_GREETING_NEWSTYLE };
enum nbd_greeting nbd_decode_greeting(const uint8_t from[NBD_GREETING_SIZE], uint16_t *flags);

void nbd_encode_option(uint8_t to[NBD_OPTION_SIZE], uint32_t option, uint32_t length);

struct nbd_option_answer {
    uint32_t option, reply, length;
};
/* False: bad magic. */
bool nbd_decode_option_reply(const uint8_t from[NBD_OPTION_REPLY_SIZE], struct nbd_option_answer *answer);

struct nbd_export {
    uint64_t size;
    uint16_t flags;
};
void nbd_decode_export(const uint8_t from[NBD_EXPORT_SIZE], struct nbd_export *export);

/* The data of an INFO reply, from its type on. False: the length is wrong, or the block sizes
 * are impossible. */
struct nbd_block_sizes {
    uint32_t minimum, preferred, maximum;
};
bool nbd_decode_info_export(const uint8_t *data, size_t length, struct nbd_export *export);
bool nbd_decode_info_block_size(const uint8_t *data, size_t length, struct nbd_block_sizes *sizes);

void nbd_encode_request(uint8_t to[NBD_REQUEST_SIZE], const struct nbd_request *request);

struct nbd_simple_reply {
    uint32_t error;
    uint64_t cookie;
};
/* False: bad magic. */
bool nbd_decode_simple_reply(const uint8_t from[NBD_SIMPLE_REPLY_SIZE], struct nbd_simple_reply *reply);

/* The negative errno for NBD's number (0 for 0). A number that NBD does not have is -EIO. */
int nbd_status(uint32_t error);

#endif
