/* The NBD client's handshake, with servers that keep the protocol and others. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "client_rig.h"

static void export_name_in_every_split(void **state)
{
    (void)state;
    static unsigned char sent[256];
    for (unsigned flags = 0; flags < 4; flags++) {
        for (size_t piece = 1; piece < 160; piece = piece < 22 ? piece + 1 : piece * 2) {
            struct rig rig;
            struct script s = {.length = 0};
            struct nbd_client_options options = usual;
            uint8_t expected[4 + NBD_OPTION_SIZE + 3];
            options.export_name = "abc";
            options.go = !(flags & NBD_FLAG_FIXED_NEWSTYLE); /* it is not tried then */
            rig_by_hand(&rig, &options);
            put_greeting(&s, (uint16_t)(flags | 0x100));
            put_export(&s, 1234567, NBD_PEER_WRITABLE, !(flags & NBD_FLAG_NO_ZEROES));
            play(&rig, &s, piece);
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, 0);
            nbd_put32(expected, flags);
            nbd_encode_option(expected + 4, NBD_OPT_EXPORT_NAME, 3);
            memcpy(expected + 4 + NBD_OPTION_SIZE, "abc", 3);
            assert_int_equal(heard(&rig, sent, sizeof sent), sizeof expected);
            assert_memory_equal(sent, expected, sizeof expected);
            const struct nbd_client_facts *facts = nbd_client_facts(rig.client);
            assert_int_equal(facts->size, 1234567);
            assert_true(!facts->read_only && facts->can_flush && facts->can_fua && facts->can_trim && facts->can_zero);
            assert_true(!facts->can_fast_zero && facts->block_minimum == 0);
            rig_end(&rig);
        }
    }
}

static void go_in_every_split(void **state)
{
    (void)state;
    static unsigned char sent[256];
    static const char long_text[NBD_CLIENT_ANSWER_MAX] = {0, NBD_INFO_DESCRIPTION};
    for (size_t piece = 1; piece < 160; piece = piece < 22 ? piece + 1 : piece * 2) {
        struct rig rig;
        struct script s = {.length = 0};
        struct nbd_client_options options = usual;
        options.go = true;
        options.export_name = "x";
        rig_by_hand(&rig, &options);
        put_greeting(&s, 3);
        put_info_sizes(&s, 512, 4096, 8192);
        put_info_export(&s, 99999);
        put_answer(&s, NBD_REP_INFO, long_text, piece > 20 ? sizeof long_text : 2);
        put_answer(&s, NBD_REP_ACK, "", 0);
        play(&rig, &s, piece);
        run_until(&rig, &rig.ready);
        assert_int_equal(rig.ready_status, 0);
        assert_int_equal(heard(&rig, sent, sizeof sent), 4 + NBD_OPTION_SIZE + 4 + 1 + 4);
        assert_memory_equal(sent + 4, "IHAVEOPT\0\0\0\7\0\0\0\x09\0\0\0\1x\0\1\0\3", NBD_OPTION_SIZE + 9);
        const struct nbd_client_facts *facts = nbd_client_facts(rig.client);
        assert_int_equal(facts->size, 99999);
        assert_int_equal(facts->block_minimum, 512);
        assert_int_equal(facts->block_preferred, 4096);
        assert_int_equal(facts->payload_max, 8192);
        assert_true(facts->read_only);
        rig_end(&rig);
    }
}

static void go_that_is_refused_becomes_export_name(void **state)
{
    (void)state;
    static unsigned char sent[256];
    for (uint32_t error = 0x80000001; error < 0x8000000a; error++) {
        struct rig rig;
        struct script s = {.length = 0};
        struct nbd_client_options options = usual;
        options.go = true;
        rig_by_hand(&rig, &options);
        put_greeting(&s, 3);
        put_answer(&s, error, "some w\xff\1ds", error % 2 ? 0 : 10);
        play(&rig, &s, 7);
        if (error == NBD_REP_ERR_SHUTDOWN) {
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, LOST);
            rig_end(&rig);
            continue;
        }
        size_t length = heard(&rig, sent, sizeof sent);
        assert_int_equal(length, 4 + NBD_OPTION_SIZE + 8 + NBD_OPTION_SIZE);
        assert_memory_equal(sent + length - NBD_OPTION_SIZE, "IHAVEOPT\0\0\0\1\0\0\0\0", NBD_OPTION_SIZE);
        s.length = 0;
        if (error != 0x80000006) {
            put_export(&s, SIZE, NBD_PEER_FLAGS, false);
            play(&rig, &s, 3);
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, 0);
        } else { /* it has no other way to refuse that */
            shutdown(rig.fd, SHUT_RDWR);
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, LOST);
            assert_non_null(strstr(nbd_client_error(rig.client), "refused the export: some w?\\x01ds"));
        }
        rig_end(&rig);
    }
}

/* Gives what `ready` says of a server that sends this; it must not wait for more. */
static int handshake_status(const struct script *s, bool go, size_t piece)
{
    struct rig rig;
    struct nbd_client_options options = usual;
    options.go = go;
    rig_by_hand(&rig, &options);
    play(&rig, s, piece);
    turns(&rig, 4);
    assert_int_equal(rig.ready, 1);
    if (rig.ready_status != 0)
        assert_int_not_equal(strlen(nbd_client_error(rig.client)), 0);
    int status = rig.ready_status;
    rig_end(&rig);
    assert_int_equal(rig.died, 0);
    assert_int_equal(rig.hung_up_status, status);
    return status;
}

static int go_status(void (*add)(struct script *s))
{
    struct script s = {.length = 0};
    put_greeting(&s, 3);
    add(&s);
    put_answer(&s, NBD_REP_ACK, "", 0);
    assert_int_equal(handshake_status(&s, true, s.length), handshake_status(&s, true, 5));
    return handshake_status(&s, true, s.length);
}

static void add_good(struct script *s)
{
    put_info_export(s, SIZE);
}

static void add_nothing(struct script *s)
{
    (void)s;
}

static void add_wrong_magic(struct script *s)
{
    put_info_export(s, SIZE);
    s->bytes[NBD_GREETING_SIZE] ^= 1;
}

static void add_other_option(struct script *s)
{
    put_info_export(s, SIZE);
    s->bytes[NBD_GREETING_SIZE + 11] ^= 1;
}

static void add_long_answer(struct script *s)
{
    put_info_export(s, SIZE);
    nbd_put32(s->bytes + NBD_GREETING_SIZE + 16, NBD_CLIENT_ANSWER_MAX + 1);
}

static void add_endless_answer(struct script *s)
{
    put_info_export(s, SIZE);
    nbd_put32(s->bytes + NBD_GREETING_SIZE + 16, UINT32_MAX);
}

static void add_many_answers(struct script *s)
{
    for (int i = 0; i <= NBD_CLIENT_ANSWERS; i++)
        put_info_export(s, SIZE);
}

static void add_short_info(struct script *s)
{
    put_answer(s, NBD_REP_INFO, "", 1);
}

static void add_short_export(struct script *s)
{
    put_answer(s, NBD_REP_INFO, "\0\0\0\0\0\0\0\0\0\0", 11);
}

static void add_other_reply(struct script *s)
{
    put_info_export(s, SIZE);
    put_answer(s, NBD_REP_SERVER, "\0\0\0\0", 4);
}

static void add_ack_with_data(struct script *s)
{
    put_info_export(s, SIZE);
    put_answer(s, NBD_REP_ACK, "!", 1);
}

static void add_no_power(struct script *s)
{
    put_info_sizes(s, 513, 4096, 65536);
}

static void add_no_minimum(struct script *s)
{
    put_info_sizes(s, 0, 4096, 65536);
}

static void add_no_maximum(struct script *s)
{
    put_info_sizes(s, 512, 4096, 0);
}

static void add_small_maximum(struct script *s)
{
    put_info_sizes(s, 1, 1, 1);
    put_info_export(s, SIZE);
}

static void add_large_minimum(struct script *s)
{
    put_info_sizes(s, 65536, 65536, 65536);
    put_info_export(s, SIZE);
}

static void answers_to_go_are_checked(void **state)
{
    (void)state;
    assert_int_equal(go_status(add_good), 0);
    assert_int_equal(go_status(add_nothing), -EPROTO);
    assert_int_equal(go_status(add_wrong_magic), -EPROTO);
    assert_int_equal(go_status(add_other_option), -EPROTO);
    assert_int_equal(go_status(add_long_answer), -EPROTO);
    assert_int_equal(go_status(add_endless_answer), -EPROTO);
    assert_int_equal(go_status(add_many_answers), -EPROTO);
    assert_int_equal(go_status(add_short_info), -EPROTO);
    assert_int_equal(go_status(add_short_export), -EPROTO);
    assert_int_equal(go_status(add_other_reply), -EPROTO);
    assert_int_equal(go_status(add_ack_with_data), -EPROTO);
    assert_int_equal(go_status(add_no_power), -EPROTO);
    assert_int_equal(go_status(add_no_minimum), -EPROTO);
    assert_int_equal(go_status(add_no_maximum), -EPROTO);
    assert_int_equal(go_status(add_small_maximum), -EINVAL);
    assert_int_equal(go_status(add_large_minimum), -EINVAL);
}

static int size_status(uint64_t size)
{
    struct script s = {.length = 0};
    put_greeting(&s, 3);
    put_export(&s, size, NBD_PEER_FLAGS, false);
    return handshake_status(&s, false, s.length);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    assert_int_equal(size_status(1), 0);
    assert_int_equal(size_status(INT64_MAX), 0);
    assert_int_equal(size_status(0), -EINVAL);
    assert_int_equal(size_status(1ull << 63), -EINVAL);
    assert_int_equal(size_status(UINT64_MAX), -EINVAL);
    assert_int_equal(size_status(NBD_OPTION_REPLY_MAGIC), -EPROTO);
}

static void what_is_no_newstyle_greeting_is_refused(void **state)
{
    (void)state;
    struct script s = {.length = 0};
    put(&s, "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\0\0", NBD_GREETING_SIZE);
    assert_int_equal(handshake_status(&s, true, 1), -EPROTO);
    s.length = 0;
    put(&s, "SSH-2.0-OpenSSH_9.9 and more", 28);
    assert_int_equal(handshake_status(&s, false, 28), -EPROTO);
}

static void a_server_without_flags_is_read_only(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    rig_by_hand(&rig, &usual);
    put_greeting(&s, 3);
    put_export(&s, SIZE, NBD_TX_SEND_TRIM, false);
    play(&rig, &s, s.length);
    assert_true(nbd_client_facts(rig.client)->read_only && !nbd_client_facts(rig.client)->can_trim);
    rig_end(&rig);
}

static void a_close_at_every_byte_of_the_handshake_is_clean(void **state)
{
    (void)state;
    for (int go = 0; go < 2; go++) {
        struct script s = {.length = 0};
        put_greeting(&s, (uint16_t)(go ? 3 : 1));
        if (go) {
            put_info_export(&s, SIZE);
            put_answer(&s, NBD_REP_ACK, "", 0);
        } else {
            put_export(&s, SIZE, NBD_PEER_FLAGS, true);
        }
        for (size_t cut = 0; cut <= s.length; cut++) {
            struct rig rig;
            struct nbd_client_options options = usual;
            options.go = go;
            rig_by_hand(&rig, &options);
            assert_int_equal(send(rig.fd, s.bytes, cut, 0), cut);
            shutdown(rig.fd, SHUT_WR);
            run_until(&rig, &rig.ready);
            if (cut < s.length) {
                assert_int_equal(rig.ready_status, LOST);
            } else if (rig.ready_status == 0) {
                run_until(&rig, &rig.died);
                assert_int_equal(rig.died_status, 0);
            }
            turns(&rig, 3);
            assert_int_equal(rig.died, cut == s.length && rig.ready_status == 0);
            rig_end(&rig);
        }
    }
}

static void a_handshake_that_stalls_times_out(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    struct nbd_client_options options = usual;
    options.handshake_timeout_ms = 20;
    rig_by_hand(&rig, &options);
    put_greeting(&s, 3);
    play(&rig, &s, s.length);
    run_until(&rig, &rig.ready);
    assert_int_equal(rig.ready_status, -ETIMEDOUT);
    rig_end(&rig);
}

static void what_comes_unasked_behind_the_handshake_is_an_error(void **state)
{
    (void)state;
    struct script s = {.length = 0};
    put_greeting(&s, 3);
    put_export(&s, SIZE, NBD_PEER_FLAGS, false);
    put_reply(&s, 0, 1, "", 0);
    assert_int_equal(handshake_status(&s, false, s.length), -EPROTO);
}

static uint64_t half(uint64_t told)
{
    return told / 2;
}

static void the_size_can_be_understood_otherwise(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    struct nbd_client_options options = usual;
    options.understand_size = half;
    rig_by_hand(&rig, &options);
    put_greeting(&s, 3);
    put_export(&s, 1ull << 63, NBD_PEER_FLAGS, false);
    play(&rig, &s, s.length);
    assert_int_equal(rig.ready_status, 0);
    assert_true(nbd_client_facts(rig.client)->size == 1ull << 62);
    assert_true(nbd_client_facts(rig.client)->size_told == 1ull << 63);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(export_name_in_every_split),
        cmocka_unit_test(go_in_every_split),
        cmocka_unit_test(go_that_is_refused_becomes_export_name),
        cmocka_unit_test(answers_to_go_are_checked),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(what_is_no_newstyle_greeting_is_refused),
        cmocka_unit_test(a_server_without_flags_is_read_only),
        cmocka_unit_test(a_close_at_every_byte_of_the_handshake_is_clean),
        cmocka_unit_test(a_handshake_that_stalls_times_out),
        cmocka_unit_test(what_comes_unasked_behind_the_handshake_is_an_error),
        cmocka_unit_test(the_size_can_be_understood_otherwise),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_content, NULL);
}
