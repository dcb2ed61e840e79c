/* The NBD server against doc/proto.md: each option's replies, what each reply holds, and each flag of each command. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nbd/wire.h"
#include "server_rig.h"

#define REPLIES_MAX 8
#define READ_ONLY_FLAGS                                                                                                \
    (NBD_TX_HAS_FLAGS | NBD_TX_READ_ONLY | NBD_TX_SEND_FLUSH | NBD_TX_CAN_MULTI_CONN | NBD_TX_SEND_CACHE)
#define WRITABLE_FLAGS                                                                                                 \
    ((READ_ONLY_FLAGS & ~NBD_TX_READ_ONLY) | NBD_TX_SEND_FUA | NBD_TX_SEND_TRIM | NBD_TX_SEND_WRITE_ZEROES |           \
     NBD_TX_SEND_FAST_ZERO)

/* --- talking --- */

static void say(struct rig *rig, const void *data, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(rig->client, (const char *)data + sent, length - sent, 0);
        sent += n > 0 ? (size_t)n : 0;
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
}

/* Exactly that many bytes. */
static void hear(struct rig *rig, void *to, size_t length)
{
    for (size_t used = 0; used < length;) {
        ssize_t n = recv(rig->client, (char *)to + used, length - used, 0);
        assert_int_not_equal(n, 0);
        used += n > 0 ? (size_t)n : 0;
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
}

/* Nothing more comes; gives whether the server has closed. */
static bool is_over(struct rig *rig)
{
    char byte;
    for (int i = 0; i < 8; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    ssize_t n = recv(rig->client, &byte, 1, 0);
    assert_true(n <= 0);
    return n == 0;
}

static void greet(struct rig *rig, const char flags[4])
{
    char greeting[NBD_GREETING_SIZE];
    hear(rig, greeting, sizeof greeting);
    assert_memory_equal(greeting, "NBDMAGICIHAVEOPT\0\3", sizeof greeting);
    say(rig, flags, 4);
}

static void ask(struct rig *rig, uint32_t option, const void *data, uint32_t length)
{
    uint8_t head[NBD_OPTION_SIZE];
    nbd_put64(head, NBD_OPTION_MAGIC);
    nbd_put32(head + 8, option);
    nbd_put32(head + 12, length);
    say(rig, head, sizeof head);
    say(rig, data, length);
}

struct reply {
    uint32_t type, length;
    uint8_t data[600];
};

static struct reply hear_reply(struct rig *rig, uint32_t option)
{
    uint8_t head[NBD_OPTION_REPLY_SIZE];
    struct reply reply;
    hear(rig, head, sizeof head);
    assert_true(nbd_get64(head) == NBD_OPTION_REPLY_MAGIC);
    assert_int_equal(nbd_get32(head + 8), option);
    reply.type = nbd_get32(head + 12);
    reply.length = nbd_get32(head + 16);
    assert_true(reply.length <= sizeof reply.data);
    hear(rig, reply.data, reply.length);
    return reply;
}

static void expect(struct rig *rig, uint32_t option, uint32_t type, const void *data, uint32_t length)
{
    struct reply reply = hear_reply(rig, option);
    assert_int_equal(reply.type, type);
    assert_int_equal(reply.length, length);
    assert_memory_equal(reply.data, data, length);
}

static void expect_ack(struct rig *rig, uint32_t option)
{
    expect(rig, option, NBD_REP_ACK, "", 0);
}

static void expect_export(struct rig *rig, uint32_t option, unsigned flags)
{
    uint8_t info[2 + NBD_EXPORT_SIZE] = {0};
    nbd_put64(info + 2, SIZE);
    nbd_put16(info + 10, (uint16_t)flags);
    expect(rig, option, NBD_REP_INFO, info, sizeof info);
}

static void request(struct rig *rig, unsigned flags, unsigned type, uint64_t offset, uint32_t length)
{
    uint8_t r[NBD_REQUEST_SIZE];
    nbd_put32(r, NBD_REQUEST_MAGIC);
    nbd_put16(r + 4, (uint16_t)flags);
    nbd_put16(r + 6, (uint16_t)type);
    memcpy(r + 8, "a cookie", 8);
    nbd_put64(r + 16, offset);
    nbd_put32(r + 24, length);
    say(rig, r, sizeof r);
    if (type == NBD_CMD_WRITE)
        say(rig, content, length);
}

static uint32_t hear_simple(struct rig *rig)
{
    uint8_t head[NBD_SIMPLE_REPLY_SIZE];
    hear(rig, head, sizeof head);
    assert_int_equal(nbd_get32(head), NBD_SIMPLE_REPLY_MAGIC);
    assert_memory_equal(head + 8, "a cookie", 8);
    return nbd_get32(head + 4);
}

static void enter(struct rig *rig)
{
    uint8_t export[NBD_EXPORT_SIZE];
    greet(rig, "\0\0\0\3");
    ask(rig, NBD_OPT_EXPORT_NAME, "", 0);
    hear(rig, export, sizeof export);
    assert_int_equal(nbd_get16(export + 8), WRITABLE_FLAGS);
}

#define TEXT(t) t, sizeof t - 1
#define ALLOCATION                                                                                                     \
    "\0\0\0\x0f"                                                                                                       \
    "base:allocation"

/* --- the handshake --- */

static void zeroes_follow_an_export_name_unless_the_client_wants_none(void **state)
{
    (void)state;
    static const char *const flags[] = {"\0\0\0\0", "\0\0\0\1", "\0\0\0\2", "\0\0\0\3"};
    for (unsigned i = 0; i < 4; i++) {
        struct rig rig;
        uint8_t answer[NBD_EXPORT_SIZE + NBD_EXPORT_ZEROES], want[sizeof answer] = {0};
        rig_begin(&rig, false);
        greet(&rig, flags[i]);
        ask(&rig, NBD_OPT_EXPORT_NAME, TEXT("slot0"));
        nbd_put64(want, SIZE);
        nbd_put16(want + 8, READ_ONLY_FLAGS);
        hear(&rig, answer, i & NBD_FLAG_NO_ZEROES ? NBD_EXPORT_SIZE : sizeof answer);
        assert_memory_equal(answer, want, i & NBD_FLAG_NO_ZEROES ? NBD_EXPORT_SIZE : sizeof answer);
        assert_false(is_over(&rig));
        request(&rig, 0, NBD_CMD_READ, 7, 100);
        assert_int_equal(hear_simple(&rig), 0);
        hear(&rig, answer, 100);
        assert_memory_equal(answer, content + 7, 100);
        rig_end(&rig);
    }
}

static void go_has_no_zeroes_and_info_stays_in_the_handshake(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t data[100], sizes[14] = {0};
    rig_begin(&rig, true);
    greet(&rig, "\0\0\0\1");
    for (uint32_t option = NBD_OPT_INFO; option <= NBD_OPT_GO; option++) { /* 77 is no kind of information */
        ask(&rig, option, TEXT("\0\0\0\5slot0\0\4\0\1\0\2\0\x4d\0\3"));
        expect_export(&rig, option, WRITABLE_FLAGS);
        expect(&rig, option, NBD_REP_INFO, TEXT("\0\1slot0"));
        expect(&rig, option, NBD_REP_INFO, TEXT("\0\2a test"));
        nbd_put16(sizes, NBD_INFO_BLOCK_SIZE);
        nbd_put32(sizes + 2, 1);
        nbd_put32(sizes + 6, 4096);
        nbd_put32(sizes + 10, 32 << 20);
        expect(&rig, option, NBD_REP_INFO, sizes, sizeof sizes);
        expect_ack(&rig, option);
    }
    request(&rig, 0, NBD_CMD_READ, 7, 100);
    assert_int_equal(hear_simple(&rig), 0);
    hear(&rig, data, 100);
    assert_memory_equal(data, content + 7, 100);
    rig_end(&rig);
}

/* In this order, on one connection. `types`: of all replies. */
static const struct {
    uint32_t option;
    const char *data;
    uint32_t length;
    uint32_t types[3];
} options[] = {
    {99, TEXT("unknown"), {NBD_REP_ERR_UNSUP}},
    {4, TEXT(""), {NBD_REP_ERR_UNSUP}}, /* PEEK_EXPORT */
    {NBD_OPT_STARTTLS, TEXT(""), {NBD_REP_ERR_UNSUP}},
    {11, TEXT(""), {NBD_REP_ERR_UNSUP}}, /* EXTENDED_HEADERS */
    {NBD_OPT_LIST, TEXT(""), {NBD_REP_SERVER, NBD_REP_ACK}},
    {NBD_OPT_LIST, TEXT("x"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_INFO, TEXT("\0\0\0\0\0\0"), {NBD_REP_INFO, NBD_REP_ACK}},
    {NBD_OPT_INFO, TEXT("\0\0\0\7nothing\0\0"), {NBD_REP_ERR_UNKNOWN}},
    {NBD_OPT_GO, TEXT("\0\0\0\7nothing\0\0"), {NBD_REP_ERR_UNKNOWN}},
    {NBD_OPT_GO, TEXT(""), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_GO, TEXT("\0\0\0\xff"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_GO, TEXT("\xff\xff\xff\xff\0\0"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_GO, TEXT("\0\0\0\0\0\1"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_GO, TEXT("\0\0\0\0\0\0x"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\0"), {NBD_REP_ERR_INVALID}}, /* no structured replies yet */
    {NBD_OPT_SET_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\1" ALLOCATION), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_STRUCTURED_REPLY, TEXT("x"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_STRUCTURED_REPLY, TEXT(""), {NBD_REP_ACK}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\0"), {NBD_REP_META_CONTEXT, NBD_REP_ACK}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\5slot0\0\0\0\1\0\0\0\5base:"), {NBD_REP_META_CONTEXT, NBD_REP_ACK}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\1" ALLOCATION), {NBD_REP_META_CONTEXT, NBD_REP_ACK}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\2\0\0\0\6qemu:x\0\0\0\6base:x"), {NBD_REP_ACK}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\7nothing\0\0\0\0"), {NBD_REP_ERR_UNKNOWN}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\1\0\0\0\6base:"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_LIST_META_CONTEXT, TEXT("\0\0\0\0\xff\xff\xff\xff"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_SET_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\0"), {NBD_REP_ACK}},
    {NBD_OPT_SET_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\1\0\0\0\5base:"), {NBD_REP_ACK}},
    {NBD_OPT_SET_META_CONTEXT, TEXT("\0\0\0\0\0\0\0\2\0\0\0\3x:y" ALLOCATION), {NBD_REP_META_CONTEXT, NBD_REP_ACK}},
    {NBD_OPT_SET_META_CONTEXT, TEXT("\0\0\0\0\0\0\0"), {NBD_REP_ERR_INVALID}},
    {NBD_OPT_ABORT, TEXT("data that is ignored"), {NBD_REP_ACK}},
};

static void each_option_is_answered_as_the_specification_says(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig, false);
    greet(&rig, "\0\0\0\3");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        ask(&rig, options[i].option, options[i].data, options[i].length);
        for (int j = 0; j < 3 && options[i].types[j]; j++) {
            struct reply reply = hear_reply(&rig, options[i].option);
            if (reply.type != options[i].types[j])
                fail_msg("option %zu: reply %x instead of %x", i, reply.type, options[i].types[j]);
            if (reply.type == NBD_REP_SERVER)
                assert_memory_equal(reply.data, "\0\0\0\5slot0", 9);
            if (reply.type == NBD_REP_META_CONTEXT)
                assert_memory_equal(reply.data + 4, "base:allocation", 15);
        }
        assert_int_equal(is_over(&rig), options[i].option == NBD_OPT_ABORT);
    }
    rig_end(&rig);
}

static void an_option_too_long_is_refused_and_skipped(void **state)
{
    (void)state;
    struct rig rig;
    static char data[20000];
    memset(data, 'I', sizeof data);
    rig_begin(&rig, false);
    greet(&rig, "\0\0\0\3");
    ask(&rig, NBD_OPT_INFO, data, sizeof data);
    assert_int_equal(hear_reply(&rig, NBD_OPT_INFO).type, NBD_REP_ERR_TOO_BIG);
    ask(&rig, NBD_OPT_LIST, "", 0);
    expect(&rig, NBD_OPT_LIST, NBD_REP_SERVER, TEXT("\0\0\0\5slot0"));
    expect_ack(&rig, NBD_OPT_LIST);
    rig_end(&rig);
}

/* The last SET counts, also one that fails. */
static void block_status_needs_the_last_set_to_have_selected(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        uint32_t length;
        bool selects;
    } sets[] = {
        {TEXT("\0\0\0\0\0\0\0\1" ALLOCATION), true},
        {TEXT("\0\0\0\0\0\0\0\0"), false},
        {TEXT("\0\0\0\0\0\0\0\1\0\0\0\5base:"), false},
        {TEXT("\0\0\0\7nothing\0\0\0\1" ALLOCATION), false},
        {TEXT("\0\0\0\0"), false},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct rig rig;
        uint8_t head[NBD_CHUNK_SIZE], body[256];
        rig_begin(&rig, true);
        greet(&rig, "\0\0\0\3");
        ask(&rig, NBD_OPT_STRUCTURED_REPLY, "", 0);
        expect_ack(&rig, NBD_OPT_STRUCTURED_REPLY);
        ask(&rig, NBD_OPT_SET_META_CONTEXT, sets[0].data, sets[0].length);
        struct reply selected = hear_reply(&rig, NBD_OPT_SET_META_CONTEXT);
        expect_ack(&rig, NBD_OPT_SET_META_CONTEXT);
        ask(&rig, NBD_OPT_SET_META_CONTEXT, sets[i].data, sets[i].length);
        while (hear_reply(&rig, NBD_OPT_SET_META_CONTEXT).type == NBD_REP_META_CONTEXT)
            ;
        ask(&rig, NBD_OPT_GO, TEXT("\0\0\0\0\0\0"));
        expect_export(&rig, NBD_OPT_GO, WRITABLE_FLAGS | NBD_TX_SEND_DF);
        expect_ack(&rig, NBD_OPT_GO);
        request(&rig, 0, NBD_CMD_BLOCK_STATUS, 0, 4096);
        hear(&rig, head, sizeof head);
        assert_int_equal(nbd_get16(head + 4), NBD_CHUNK_DONE);
        assert_int_equal(nbd_get16(head + 6), sets[i].selects ? NBD_CHUNK_BLOCK_STATUS : NBD_CHUNK_ERROR);
        hear(&rig, body, nbd_get32(head + 16));
        if (sets[i].selects)
            assert_memory_equal(body, selected.data, 4); /* its number */
        else
            assert_int_equal(nbd_get32(body), 22);
        rig_end(&rig);
    }
}

/* --- transmission --- */

static void a_flag_that_does_not_belong_to_a_command_is_einval(void **state)
{
    (void)state;
    static const struct {
        unsigned command, length, allowed;
    } commands[] = {
        {NBD_CMD_READ, 16, NBD_CMD_FUA}, /* DF needs structured replies */
        {NBD_CMD_WRITE, 16, NBD_CMD_FUA},
        {NBD_CMD_FLUSH, 0, NBD_CMD_FUA},
        {NBD_CMD_TRIM, 16, NBD_CMD_FUA},
        {NBD_CMD_CACHE, 16, NBD_CMD_FUA},
        {NBD_CMD_WRITE_ZEROES, 16, NBD_CMD_FUA | NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO},
    };
    struct rig rig;
    rig_begin(&rig, true);
    enter(&rig);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        for (unsigned flag = 1; flag <= 0x8000; flag <<= 1) {
            uint8_t data[16];
            request(&rig, flag, commands[i].command, 4096, commands[i].length);
            uint32_t error = hear_simple(&rig);
            if (error != (commands[i].allowed & flag ? 0 : 22))
                fail_msg("command %u, flag %x: %u", commands[i].command, flag, error);
            if (error == 0 && commands[i].command == NBD_CMD_READ)
                hear(&rig, data, sizeof data);
        }
    assert_false(is_over(&rig));
    rig_end(&rig);
}

/* A client must not send what is not offered; ENOTSUP is only for a fast zero. */
static void what_is_not_offered_is_einval(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t export[NBD_EXPORT_SIZE];
    rig_begin(&rig, true);
    rig.source->can_trim = rig.source->can_zero = false;
    greet(&rig, "\0\0\0\3");
    ask(&rig, NBD_OPT_EXPORT_NAME, "", 0);
    hear(&rig, export, sizeof export);
    assert_int_equal(nbd_get16(export + 8),
                     WRITABLE_FLAGS & ~(NBD_TX_SEND_TRIM | NBD_TX_SEND_WRITE_ZEROES | NBD_TX_SEND_FAST_ZERO));
    request(&rig, 0, NBD_CMD_TRIM, 0, 4096);
    assert_int_equal(hear_simple(&rig), 22);
    request(&rig, 0, NBD_CMD_WRITE_ZEROES, 0, 4096);
    assert_int_equal(hear_simple(&rig), 22);
    request(&rig, NBD_CMD_FAST_ZERO, NBD_CMD_WRITE_ZEROES, 0, 4096);
    assert_int_equal(hear_simple(&rig), 22);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroes_follow_an_export_name_unless_the_client_wants_none),
        cmocka_unit_test(go_has_no_zeroes_and_info_stays_in_the_handshake),
        cmocka_unit_test(each_option_is_answered_as_the_specification_says),
        cmocka_unit_test(an_option_too_long_is_refused_and_skipped),
        cmocka_unit_test(block_status_needs_the_last_set_to_have_selected),
        cmocka_unit_test(a_flag_that_does_not_belong_to_a_command_is_einval),
        cmocka_unit_test(what_is_not_offered_is_einval),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
