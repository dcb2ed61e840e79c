/*
 * The SMB source keeps the contract, against a small server in threads that gives less than it was asked for and hangs
 * up; and a server that answers what it must not gives an error, and nothing else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../block/contract.h"
#include "../../cmocka_all.h"
#include "../source_rig.h"
#include "base/log.h"
#include "block/cache.h"
#include "remote/smb/smb.h"
#include "smb_peer.h"

#define SIZE (2u * 1000 * 1000 + 11)

static unsigned char content[SIZE];

static int start_server(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    return smb_peer_start(content, SIZE);
}

static int stop_server(void **state)
{
    (void)state;
    return smb_peer_stop();
}

static struct source *smb_new(uv_loop_t *loop, uint64_t io_timeout_ms)
{
    struct smb_source_options options = {
        .url = smb_peer_url,
        .local = ADDRESS_LOCAL_ALL,
        .requests = 6,
        .connect_timeout_ms = 5000,
        .stall_timeout_ms = 5000,
        .io_timeout_ms = io_timeout_ms,
    };
    return smb_source_new(loop, "test", &options);
}

/* --- the contract --- */

static void *begin(uv_loop_t *loop, void *arg)
{
    (void)loop;
    (void)arg;
    return cache_new(4 << 20, 1 << 20);
}

static void end(void *cache, void *arg)
{
    (void)arg;
    cache_free(cache);
}

static struct source *make(uv_loop_t *loop, void *cache, void *cached)
{
    struct source *source = smb_new(loop, 20000);
    return *(bool *)cached ? cache_source_new(cache, source, true) : source;
}

static void check(bool cached, unsigned trouble)
{
    struct contract contract = {
        .content = content, .size = SIZE, .begin = begin, .end = end, .make = make, .arg = &cached};
    smb_peer_trouble = trouble;
    contract_check(&contract);
    smb_peer_trouble = 0;
}

static void smb_keeps_the_contract(void **state)
{
    (void)state;
    check(false, 0);
}

static void cached_smb_keeps_the_contract(void **state)
{
    (void)state;
    check(true, 0);
}

/* --- one read of an image --- */

/* Opens, begins to lie as told, reads once, closes. 1: not read, since it did not open. */
static int visit(void (*lie_at_open)(struct smb_peer_answer *), void (*lie_at_read)(struct smb_peer_answer *),
                 unsigned version)
{
    source_rig_begin(content);
    smb_peer_lie = lie_at_open;
    int opened = source_rig_open(smb_new(&rig.loop, 300));
    smb_peer_lie = lie_at_read;
    smb_peer_version = version;
    int read = opened == 0 ? source_rig_read(1000000, 4096) : 1;
    source_rig_end();
    smb_peer_lie = NULL;
    smb_peer_version = 0;
    return read;
}

static void an_honest_server_is_read(void **state)
{
    (void)state;
    assert_int_equal(visit(NULL, NULL, 0), 0);
}

static void a_file_that_was_written_is_no_more_read(void **state)
{
    (void)state;
    assert_int_equal(visit(NULL, NULL, 1), -EIO);
}

static void a_server_that_gives_half_and_hangs_up_is_read_in_the_end(void **state)
{
    (void)state;
    smb_peer_trouble = 2;
    for (int i = 0; i < 4; i++) {
        int read = visit(NULL, NULL, 0);
        assert_true(read == 0 || read == -EIO);
    }
    smb_peer_trouble = 0;
}

/* --- lies --- */

enum { HEADER = 64 };

static void set(struct smb_peer_answer *a, size_t at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        a->message[at + i] = (uint8_t)(value >> 8 * i);
}

#define LIE(name, code)                                                                                                \
    static void name(struct smb_peer_answer *a)                                                                        \
    {                                                                                                                  \
        code;                                                                                                          \
    }

LIE(chained, set(a, 20, 64, 4))
LIE(no_answer_flag, set(a, 16, 0, 4))
LIE(smb1, a->message[0] = 0xff)
LIE(sealed, a->message[0] = 0xfd)
LIE(sealed_short, (a->message[0] = 0xfd, a->length = 20))
LIE(garbage, memset(a->message, 0x5a, a->length))
LIE(other_id, a->message[24] ^= 0x55)
LIE(other_command, a->message[12] ^= 1)
LIE(oplock_break, (a->message[12] = 18, set(a, 24, UINT64_MAX, 8)))
LIE(cut_header, a->length = 30)
LIE(cut_body, a->length = HEADER + 3)
LIE(empty, a->length = 0)
LIE(warning, set(a, 8, 0x80000005, 4))
LIE(pending_for_ever, if (a->command == 8)(set(a, 8, 0x103, 4), set(a, 16, 3, 4), set(a, HEADER, 9, 2),
                                           set(a, HEADER + 4, 0, 4), a->length = HEADER + 9))
LIE(error_of_error, (set(a, 8, 0xc0000001, 4), set(a, HEADER, 9, 2), set(a, HEADER + 4, 0x7fffffff, 4)))
LIE(other_session, if (a->command > 1) set(a, 40, 0x1234, 8))
LIE(other_structure, set(a, HEADER, 3, 2))
LIE(token_outside, if (a->command == 1) set(a, HEADER + 4, 0xfff0, 2))
LIE(token_too_long, if (a->command == 1) set(a, HEADER + 6, 0xfff0, 2))
LIE(token_before, if (a->command == 1) set(a, HEADER + 4, 8, 2))
LIE(info_outside, if (a->command == 1) set(a, HEADER + 8 + 44, 0xfffffff0, 4))
LIE(info_too_long, if (a->command == 1) set(a, HEADER + 8 + 40, 0xffffffff, 4))
LIE(login_for_ever, if (a->command == 1 && a->length == HEADER + 8) set(a, 8, 0xc0000016, 4))
LIE(smb3_1_1_without_contexts, if (a->command == 0) set(a, HEADER + 4, 0x0311, 2))
LIE(unknown_dialect, if (a->command == 0) set(a, HEADER + 4, 0x02ff, 2))
LIE(reads_of_nothing, if (a->command == 0) set(a, HEADER + 32, 0, 4))
LIE(share_is_a_printer, if (a->command == 3) a->message[HEADER + 2] = 3)
LIE(share_is_sealed, if (a->command == 3)(set(a, HEADER + 4, 0x8000, 4)))
LIE(contexts_outside, if (a->command == 5)(set(a, HEADER + 80, 0xffffff00, 4), set(a, HEADER + 84, 0x10000, 4)))
LIE(is_a_folder, if (a->command == 5) set(a, HEADER + 56, 0x10, 4))
LIE(facts_outside, if (a->command == 16) set(a, HEADER + 2, 0xfff0, 2))
LIE(facts_too_long, if (a->command == 16) set(a, HEADER + 4, 0xfffffff0, 4))
LIE(facts_too_short, if (a->command == 16) set(a, HEADER + 4, 3, 4))
LIE(negative_size, if (a->command == 16 && a->length > HEADER + 60) set(a, HEADER + 8 + 40, UINT64_MAX, 8))

static void (*const opening[])(struct smb_peer_answer *) = {
    chained,
    no_answer_flag,
    smb1,
    sealed,
    sealed_short,
    garbage,
    other_id,
    other_command,
    oplock_break,
    cut_header,
    cut_body,
    empty,
    warning,
    error_of_error,
    other_session,
    other_structure,
    token_outside,
    token_too_long,
    token_before,
    info_outside,
    info_too_long,
    login_for_ever,
    smb3_1_1_without_contexts,
    unknown_dialect,
    reads_of_nothing,
    share_is_a_printer,
    share_is_sealed,
    contexts_outside,
    is_a_folder,
    facts_outside,
    facts_too_long,
    facts_too_short,
    negative_size,
};

static void a_lie_while_opening_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof opening / sizeof *opening; i++) {
        visit(opening[i], NULL, 0);
        if (rig.status >= 0)
            fail_msg("lie %zu was believed", i);
    }
}

LIE(more_than_asked, if (a->command == 8)(set(a, HEADER + 4, 8192, 4), a->length = HEADER + 16 + 8192))
LIE(far_more_than_asked, if (a->command == 8)(set(a, HEADER + 4, 0x40000000, 4)))
LIE(less_than_said, if (a->command == 8) a->length -= 100)
LIE(data_elsewhere, if (a->command == 8) a->message[HEADER + 2] = 100)
LIE(nothing, if (a->command == 8)(set(a, HEADER + 4, 0, 4), a->length = HEADER + 16))
LIE(end_of_file, if (a->command == 8)(set(a, 8, 0xc0000011, 4), set(a, HEADER, 9, 2), set(a, HEADER + 4, 0, 4),
                                      a->length = HEADER + 9))
LIE(too_long, if (a->command == 8) a->length = SMB_PEER_MESSAGE_MAX)

static void (*const reading[])(struct smb_peer_answer *) = {
    chained,        no_answer_flag,  smb1,          sealed,          sealed_short,    garbage,
    other_id,       other_command,   oplock_break,  cut_header,      cut_body,        empty,
    warning,        error_of_error,  other_session, other_structure, more_than_asked, far_more_than_asked,
    less_than_said, data_elsewhere,  nothing,       end_of_file,     too_long,        facts_outside,
    facts_too_long, facts_too_short,
};

static void a_lie_while_reading_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reading / sizeof *reading; i++) {
        int read = visit(NULL, reading[i], 0);
        if (read != -EIO)
            fail_msg("lie %zu was believed: %d", i, read);
    }
}

/* What waits for an answer that never comes ends with its time, or when it is closed. */
static void an_answer_that_never_comes_is_not_waited_for(void **state)
{
    (void)state;
    assert_int_equal(visit(NULL, pending_for_ever, 0), -EIO);
}

/* Any byte of an answer may be another one: right data, as the rig compares them, or an error. */
static atomic_uint noise;

static void flip_a_byte(struct smb_peer_answer *a)
{
    unsigned number = noise++ * 2654435761u;
    size_t room = a->command == 8 && a->length > HEADER + 16 ? HEADER + 16 : a->length;
    if (number % 3 == 0 && room > 0)
        a->message[(number >> 8) % room] ^= (uint8_t)(1u << (number >> 4) % 8);
}

static void noise_gives_right_data_or_an_error(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++)
        visit(i % 2 ? flip_a_byte : NULL, flip_a_byte, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smb_keeps_the_contract),
        cmocka_unit_test(cached_smb_keeps_the_contract),
        cmocka_unit_test(an_honest_server_is_read),
        cmocka_unit_test(a_file_that_was_written_is_no_more_read),
        cmocka_unit_test(a_server_that_gives_half_and_hangs_up_is_read_in_the_end),
        cmocka_unit_test(a_lie_while_opening_is_an_error),
        cmocka_unit_test(a_lie_while_reading_is_an_error),
        cmocka_unit_test(an_answer_that_never_comes_is_not_waited_for),
        cmocka_unit_test(noise_gives_right_data_or_an_error),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
