/* The NBD messages byte by byte, with truncated and hostile lengths. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "nbd/wire.h"

static void integers_are_big_endian(void **state)
{
    (void)state;
    uint8_t b[8];
    nbd_put64(b, 0x0123456789abcdefull);
    assert_memory_equal(b, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    assert_true(nbd_get64(b) == 0x0123456789abcdefull);
    assert_int_equal(nbd_get32(b + 4), 0x89abcdef);
    assert_int_equal(nbd_get16(b + 6), 0xcdef);
    nbd_put32(b, 0xfffffffe);
    assert_int_equal(nbd_get32(b), 0xfffffffe);
    nbd_put16(b, 0x8001);
    assert_int_equal(nbd_get16(b), 0x8001);
}

static void the_greeting_offers_fixed_newstyle(void **state)
{
    (void)state;
    uint8_t b[NBD_GREETING_SIZE];
    nbd_encode_greeting(b);
    assert_memory_equal(b, "NBDMAGICIHAVEOPT\0\3", sizeof b);
}

static void an_option_needs_its_magic(void **state)
{
    (void)state;
    uint8_t b[] = "IHAVEOPT\0\0\0\7\xff\xff\xff\xff";
    struct nbd_option_header option;
    assert_true(nbd_decode_option(b, &option));
    assert_int_equal(option.option, NBD_OPT_GO);
    assert_int_equal(option.length, 0xffffffff);
    for (int i = 0; i < 8; i++) {
        b[i] ^= 1;
        assert_false(nbd_decode_option(b, &option));
        b[i] ^= 1;
    }
}

static void a_request_needs_its_magic(void **state)
{
    (void)state;
    uint8_t b[] = "\x25\x60\x95\x13\0\4\0\1COOKIE!!\xff\xff\xff\xff\xff\xff\xff\xff\x80\0\0\1";
    struct nbd_request r;
    assert_true(nbd_decode_request(b, &r));
    assert_int_equal(r.flags, NBD_CMD_DF);
    assert_int_equal(r.type, NBD_CMD_WRITE);
    assert_true(r.cookie == 0x434f4f4b49452121ull);
    assert_true(r.offset == UINT64_MAX);
    assert_int_equal(r.length, 0x80000001);
    for (int i = 0; i < 4; i++) {
        b[i] ^= 0x80;
        assert_false(nbd_decode_request(b, &r));
        b[i] ^= 0x80;
    }
}

/* The data is put at the very end of a heap block of its own, so that a read
 * behind it is seen by the sanitizers and valgrind. */
static uint8_t *exact(const void *data, size_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    memcpy(copy, data, length);
    return copy;
}

static bool info_ok(const void *data, size_t length, struct nbd_info_request *request)
{
    uint8_t *copy = exact(data, length);
    bool ok = nbd_decode_info(copy, length, request);
    if (ok) {
        nbd_info_wanted(request, 0xffff); /* reads them all */
        assert_true(request->name_length <= length);
    }
    free(copy);
    return ok;
}

static void info_lengths_must_add_up(void **state)
{
    (void)state;
    static const char data[] = "\0\0\0\5slot0\0\2\0\1\0\3";
    struct nbd_info_request request;
    size_t length = sizeof data - 1;
    uint8_t *copy = exact(data, length);
    assert_true(nbd_decode_info(copy, length, &request));
    assert_int_equal(request.name_length, 5);
    assert_memory_equal(request.name, "slot0", 5);
    assert_true(nbd_info_wanted(&request, NBD_INFO_NAME));
    assert_true(nbd_info_wanted(&request, NBD_INFO_BLOCK_SIZE));
    assert_false(nbd_info_wanted(&request, NBD_INFO_DESCRIPTION));
    free(copy);
    for (size_t cut = 0; cut < length; cut++)
        assert_false(info_ok(data, cut, &request));
    assert_false(info_ok("\0\0\0\5slot0\0\2\0\1\0\3!", length + 1, &request));
    assert_true(info_ok("\0\0\0\0\0\0", 6, &request));
    assert_false(info_ok("\xff\xff\xff\xff\0\0", 6, &request));
    assert_false(info_ok("\0\0\0\3\0\0", 6, &request));
    assert_false(info_ok("\0\0\0\0\xff\xff", 6, &request));
    assert_false(info_ok("\0\0\0\0\x80\0", 6, &request)); /* 2 * 0x8000 is 0 in 16 bit */
}

static void names_have_a_limit(void **state)
{
    (void)state;
    static uint8_t data[4 + NBD_NAME_MAX + 1 + 4];
    struct nbd_info_request info;
    struct nbd_meta_request meta;
    nbd_put32(data, NBD_NAME_MAX);
    assert_true(nbd_decode_info(data, 4 + NBD_NAME_MAX + 2, &info));
    assert_true(nbd_decode_meta(data, 4 + NBD_NAME_MAX + 4, &meta));
    nbd_put32(data, NBD_NAME_MAX + 1);
    assert_false(nbd_decode_info(data, 4 + NBD_NAME_MAX + 1 + 2, &info));
    assert_false(nbd_decode_meta(data, 4 + NBD_NAME_MAX + 1 + 4, &meta));
}

static bool meta_ok(const void *data, size_t length)
{
    struct nbd_meta_request request;
    uint8_t *copy = exact(data, length);
    bool ok = nbd_decode_meta(copy, length, &request);
    free(copy);
    return ok;
}

static void meta_lengths_must_add_up(void **state)
{
    (void)state;
    static const char data[] = "\0\0\0\1x\0\0\0\2\0\0\0\5base:\0\0\0\0";
    struct nbd_meta_request request;
    size_t length = sizeof data - 1;
    uint8_t *copy = exact(data, length);
    const char *query;
    uint32_t query_length;
    assert_true(nbd_decode_meta(copy, length, &request));
    assert_int_equal(request.name_length, 1);
    assert_int_equal(request.query_count, 2);
    const uint8_t *at = request.queries;
    nbd_next_query(&at, &query, &query_length);
    assert_int_equal(query_length, 5);
    assert_memory_equal(query, "base:", 5);
    nbd_next_query(&at, &query, &query_length);
    assert_int_equal(query_length, 0);
    assert_ptr_equal(at, copy + length);
    free(copy);
    for (size_t cut = 0; cut < length; cut++)
        assert_false(meta_ok(data, cut));
    assert_false(meta_ok("\0\0\0\1x\0\0\0\2\0\0\0\5base:\0\0\0\0!", length + 1));
    assert_true(meta_ok("\0\0\0\0\0\0\0\0", 8));
    assert_false(meta_ok("\0\0\0\0\xff\xff\xff\xff", 8));
    assert_false(meta_ok("\0\0\0\0\0\0\0\1\xff\xff\xff\xff", 12));
    assert_false(meta_ok("\xff\xff\xff\xff\0\0\0\0", 8));
}

static void replies_are_as_written_in_the_protocol(void **state)
{
    (void)state;
    uint8_t b[32];
    nbd_encode_option_reply(b, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, 3);
    assert_memory_equal(b, "\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\7\x80\0\0\6\0\0\0\3", NBD_OPTION_REPLY_SIZE);
    nbd_encode_export(b, 0x1122334455667788ull, NBD_TX_HAS_FLAGS | NBD_TX_CAN_MULTI_CONN);
    assert_memory_equal(b, "\x11\x22\x33\x44\x55\x66\x77\x88\1\1", NBD_EXPORT_SIZE);
    nbd_encode_simple_reply(b, 22, 5);
    assert_memory_equal(b, "\x67\x44\x66\x98\0\0\0\x16\0\0\0\0\0\0\0\5", NBD_SIMPLE_REPLY_SIZE);
    nbd_encode_chunk(b, NBD_CHUNK_DONE, NBD_CHUNK_ERROR, 6, 7);
    assert_memory_equal(b, "\x66\x8e\x33\xef\0\1\x80\1\0\0\0\0\0\0\0\6\0\0\0\7", NBD_CHUNK_SIZE);
}

static void every_errno_has_a_number(void **state)
{
    (void)state;
    static const struct {
        int status;
        uint32_t error;
    } known[] = {
        {0, 0},           {-EPERM, 1},      {-EROFS, 1},     {-ENOMEM, 12},    {-EINVAL, 22},    {-ENOSPC, 28},
        {-EOVERFLOW, 75}, {-ENOTSUP, 95},   {-EIO, 5},       {-ETIMEDOUT, 5},  {-ECONNRESET, 5}, {-ENOENT, 5},
        {-ESHUTDOWN, 108}, {-ECANCELED, 108},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(nbd_error(known[i].status), known[i].error);
    for (int e = 1; e < 200; e++)
        assert_int_not_equal(nbd_error(-e), 0);
}

/* --- the client's side --- */

static void greetings_are_told_apart(void **state)
{
    (void)state;
    uint8_t b[NBD_GREETING_SIZE];
    uint16_t flags;
    nbd_encode_greeting(b);
    assert_int_equal(nbd_decode_greeting(b, &flags), NBD_GREETING_NEWSTYLE);
    assert_int_equal(flags, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    for (int i = 0; i < 16; i++) {
        b[i] ^= 1;
        assert_int_equal(nbd_decode_greeting(b, &flags), NBD_GREETING_UNKNOWN);
        b[i] ^= 1;
    }
    memcpy(b + 8, "\x00\x00\x42\x02\x81\x86\x12\x53", 8);
    assert_int_equal(nbd_decode_greeting(b, &flags), NBD_GREETING_OLDSTYLE);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    uint8_t b[32];
    struct nbd_option_header option;
    struct nbd_option_answer answer;
    struct nbd_simple_reply reply;
    struct nbd_export export;
    struct nbd_request request = {NBD_CMD_FUA, NBD_CMD_WRITE, UINT64_MAX - 1, 1ull << 62, 0xfffffffe}, back;
    nbd_encode_option(b, NBD_OPT_GO, 77);
    assert_true(nbd_decode_option(b, &option) && option.option == NBD_OPT_GO && option.length == 77);
    nbd_encode_option_reply(b, NBD_OPT_GO, NBD_REP_ERR_UNSUP, UINT32_MAX);
    assert_true(nbd_decode_option_reply(b, &answer));
    assert_true(answer.option == NBD_OPT_GO && answer.reply == NBD_REP_ERR_UNSUP && answer.length == UINT32_MAX);
    b[7] ^= 1;
    assert_false(nbd_decode_option_reply(b, &answer));
    nbd_encode_export(b, 1ull << 63, NBD_TX_READ_ONLY);
    nbd_decode_export(b, &export);
    assert_true(export.size == 1ull << 63 && export.flags == NBD_TX_READ_ONLY);
    nbd_encode_request(b, &request);
    assert_true(nbd_decode_request(b, &back));
    assert_true(back.flags == request.flags && back.type == request.type && back.cookie == request.cookie &&
                back.offset == request.offset && back.length == request.length);
    nbd_encode_simple_reply(b, UINT32_MAX, 0x0102030405060708ull);
    assert_true(nbd_decode_simple_reply(b, &reply));
    assert_true(reply.error == UINT32_MAX && reply.cookie == 0x0102030405060708ull);
    for (int i = 0; i < 4; i++) {
        b[i] ^= 0x10;
        assert_false(nbd_decode_simple_reply(b, &reply));
        b[i] ^= 0x10;
    }
}

static bool sizes_ok(uint32_t minimum, uint32_t preferred, uint32_t maximum)
{
    uint8_t b[14] = {0, NBD_INFO_BLOCK_SIZE};
    struct nbd_block_sizes sizes;
    nbd_put32(b + 2, minimum);
    nbd_put32(b + 6, preferred);
    nbd_put32(b + 10, maximum);
    return nbd_decode_info_block_size(b, sizeof b, &sizes) && sizes.minimum == minimum &&
           sizes.preferred == preferred && sizes.maximum == maximum;
}

static void informations_have_their_length(void **state)
{
    (void)state;
    static const char export_info[] = "\0\0\0\0\0\0\0\0\1\0\0\3";
    struct nbd_block_sizes sizes;
    struct nbd_export export;
    for (size_t length = 0; length < 32; length++) {
        uint8_t *copy = exact("\0\0\0\0\0\0\0\0\1\0\0\3                     ", length);
        assert_int_equal(nbd_decode_info_export(copy, length, &export), length == 12);
        free(copy);
        copy = exact("\0\3\0\0\0\1\0\0\x10\0\2\0\0\0                    ", length);
        assert_int_equal(nbd_decode_info_block_size(copy, length, &sizes), length == 14);
        free(copy);
    }
    assert_true(nbd_decode_info_export((const uint8_t *)export_info, 12, &export));
    assert_true(export.size == 256 && export.flags == 3);
    assert_true(sizes_ok(1, 1, 1));
    assert_true(sizes_ok(512, 4096, UINT32_MAX));
    assert_true(sizes_ok(65536, 65536, 65536));
    assert_false(sizes_ok(0, 4096, 65536));
    assert_false(sizes_ok(3, 4096, 65536));
    assert_false(sizes_ok(131072, 131072, 131072));
    assert_false(sizes_ok(512, 256, 65536));
    assert_false(sizes_ok(512, 0, 65536));
    assert_false(sizes_ok(512, 4097, 65536));
    assert_false(sizes_ok(512, 4096, 511));
}

static void every_number_has_an_errno(void **state)
{
    (void)state;
    static const uint32_t known[] = {0, 1, 5, 12, 22, 28, 75, 95, 108};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(nbd_error(nbd_status(known[i])), known[i]);
    for (uint32_t error = 1; error < 300; error++)
        assert_true(nbd_status(error) < 0);
    assert_int_equal(nbd_status(2), -EIO);
    assert_int_equal(nbd_status(0xffffffff), -EIO);
    assert_int_equal(nbd_status(0x80000000), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_big_endian),
        cmocka_unit_test(the_greeting_offers_fixed_newstyle),
        cmocka_unit_test(an_option_needs_its_magic),
        cmocka_unit_test(a_request_needs_its_magic),
        cmocka_unit_test(info_lengths_must_add_up),
        cmocka_unit_test(names_have_a_limit),
        cmocka_unit_test(meta_lengths_must_add_up),
        cmocka_unit_test(replies_are_as_written_in_the_protocol),
        cmocka_unit_test(every_errno_has_a_number),
        cmocka_unit_test(greetings_are_told_apart),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(informations_have_their_length),
        cmocka_unit_test(every_number_has_an_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
