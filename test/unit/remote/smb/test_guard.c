/* What passes between a file server and libsmb2, in the messages of a login and of reads. */
#include <errno.h>
#include <string.h>

#include "../../cmocka_all.h"
#include "remote/smb/guard.h"
#include "remote/smb/status.h"

enum { HEADER = 64, NEGOTIATE = 0, LOGIN = 1, SHARE = 3, CREATE = 5, READ = 8, QUERY = 16 };
enum { SIGNED = 9, UNSIGNED = 1 };
#define MORE    0xc0000016u
#define SESSION 0x77

static struct smb_guard guard;
static uint8_t message[HEADER + 4096];
static uint64_t next_id;

static void put(size_t at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        message[at + i] = (uint8_t)(value >> 8 * i);
}

/* Asks; the answer's header is made. */
static void ask(uint16_t command, uint32_t status, uint32_t flags)
{
    uint8_t request[HEADER + 16] = "\xfeSMB";
    request[12] = (uint8_t)command;
    request[24] = (uint8_t)next_id;
    request[HEADER + 5] = 4; /* of a READ: 1024 bytes */
    assert_true(smb_guard_request(&guard, request, sizeof request));
    memset(message, 0, sizeof message);
    memcpy(message, "\xfeSMB", 4);
    put(4, HEADER, 2);
    put(8, status, 4);
    put(12, command, 2);
    put(16, flags, 4);
    put(24, next_id++, 8);
    put(40, SESSION, 8);
}

static enum smb_guard_verdict give(size_t length)
{
    return smb_guard_answer(&guard, message, length, length);
}

static void says(int reason, const char *words)
{
    assert_int_equal(guard.reason, reason);
    if (!strstr(guard.error, words))
        fail_msg("%s", guard.error);
}

static enum smb_guard_verdict negotiate(uint16_t dialect, uint16_t mode, uint32_t capabilities, uint16_t cipher)
{
    ask(NEGOTIATE, 0, UNSIGNED);
    put(HEADER, 65, 2);
    put(HEADER + 2, mode, 2);
    put(HEADER + 4, dialect, 2);
    put(HEADER + 24, capabilities, 4);
    put(HEADER + 32, 1 << 20, 4);
    put(HEADER + 56, HEADER + 64, 2);
    put(HEADER + 58, 8, 2);
    if (dialect < 0x0311)
        return give(HEADER + 64 + 8);
    put(HEADER + 6, 1, 2);
    put(HEADER + 60, HEADER + 64 + 8, 4);
    put(HEADER + 64 + 8, 2, 2);
    put(HEADER + 64 + 10, 4, 2);
    put(HEADER + 64 + 16, 1, 2);
    put(HEADER + 64 + 18, cipher, 2);
    return give(HEADER + 64 + 8 + 12);
}

static enum smb_guard_verdict challenge(void)
{
    ask(LOGIN, MORE, UNSIGNED);
    put(HEADER, 9, 2);
    put(HEADER + 4, HEADER + 8, 2);
    put(HEADER + 6, 52, 2);
    memcpy(message + HEADER + 8, "NTLMSSP", 8);
    put(HEADER + 8 + 8, 2, 4);
    put(HEADER + 8 + 42, 4, 2);
    put(HEADER + 8 + 44, 48, 4);
    return give(HEADER + 8 + 52);
}

static enum smb_guard_verdict login(uint16_t session, uint32_t flags)
{
    ask(LOGIN, 0, flags);
    put(HEADER, 9, 2);
    put(HEADER + 2, session, 2);
    return give(HEADER + 8);
}

static enum smb_guard_verdict share(uint32_t share_flags, uint32_t flags)
{
    ask(SHARE, 0, flags);
    put(HEADER, 16, 2);
    put(HEADER + 2, 1, 1);
    put(HEADER + 4, share_flags, 4);
    return give(HEADER + 16);
}

static void read_of(uint32_t length, uint32_t flags)
{
    ask(READ, 0, flags);
    put(HEADER, 17, 2);
    put(HEADER + 2, HEADER + 16, 1);
    put(HEADER + 4, length, 4);
}

static enum smb_guard_verdict begin(bool must_seal, bool may_guest)
{
    next_id = 1;
    smb_guard_init(&guard, must_seal, may_guest);
    return negotiate(0x0311, 1, 0, 1);
}

static void log_in(bool must_seal, bool may_guest)
{
    assert_int_equal(begin(must_seal, may_guest), SMB_GUARD_PASS);
    assert_int_equal(challenge(), SMB_GUARD_PASS);
    assert_int_equal(login(may_guest, may_guest ? UNSIGNED : SIGNED), SMB_GUARD_PASS);
}

static void a_signed_session_passes(void **state)
{
    (void)state;
    log_in(false, false);
    assert_int_equal(share(0, SIGNED), SMB_GUARD_PASS);
    read_of(1024, SIGNED);
    assert_int_equal(smb_guard_answer(&guard, message, SMB_GUARD_HEAD, HEADER + 16 + 1024), SMB_GUARD_PASS);
    assert_int_equal(guard.asked_count, 0);
    assert_false(guard.sealed);
}

static void what_is_not_signed_is_refused(void **state)
{
    (void)state;
    log_in(false, false);
    assert_int_equal(share(0, UNSIGNED), SMB_GUARD_REFUSE);
    says(-EREMOTEIO, "not signed");
    assert_int_equal(begin(false, false), SMB_GUARD_PASS);
    assert_int_equal(challenge(), SMB_GUARD_PASS);
    assert_int_equal(login(0, UNSIGNED), SMB_GUARD_REFUSE);
    says(-EREMOTEIO, "does not sign");
    next_id = 1;
    smb_guard_init(&guard, false, false);
    assert_int_equal(negotiate(0x0210, 0, 0, 0), SMB_GUARD_REFUSE);
    says(-EREMOTEIO, "does not sign");
}

static void a_user_is_not_taken_for_a_guest(void **state)
{
    (void)state;
    for (uint16_t as = 1; as <= 2; as++) {
        assert_int_equal(begin(false, false), SMB_GUARD_PASS);
        assert_int_equal(challenge(), SMB_GUARD_PASS);
        assert_int_equal(login(as, SIGNED), SMB_GUARD_REFUSE);
        says(-EACCES, "guest");
    }
    log_in(false, true);
    assert_int_equal(share(0, UNSIGNED), SMB_GUARD_PASS);
}

static void sealing_is_kept_to(void **state)
{
    (void)state;
    log_in(true, false);
    assert_true(guard.sealed);
    uint8_t clear[HEADER + 16] = "\xfeSMB";
    assert_false(smb_guard_request(&guard, clear, sizeof clear));
    memcpy(message, "\xfdSMB", 4);
    assert_int_equal(give(52 + 64), SMB_GUARD_PASS);
    assert_int_equal(give(52 + 63), SMB_GUARD_REFUSE);
    assert_int_equal(smb_guard_answer(&guard, message, SMB_GUARD_HEAD, SMB_GUARD_SEALED_MAX + 1), SMB_GUARD_REFUSE);
}

static void sealing_begins_when_it_is_agreed_only(void **state)
{
    (void)state;
    log_in(false, false);
    memcpy(message, "\xfdSMB", 4);
    assert_int_equal(give(200), SMB_GUARD_REFUSE);
    log_in(false, false);
    assert_int_equal(share(0x8000, SIGNED), SMB_GUARD_PASS);
    assert_true(guard.sealed);
    read_of(16, SIGNED);
    assert_int_equal(give(HEADER + 32), SMB_GUARD_REFUSE);
    says(-EREMOTEIO, "not encrypted");
    log_in(false, true);
    assert_int_equal(share(0x8000, UNSIGNED), SMB_GUARD_REFUSE);
    says(-EACCES, "needs a user");
}

static void a_server_that_can_not_seal_is_refused_when_it_must(void **state)
{
    (void)state;
    static const struct {
        uint16_t dialect, cipher;
        uint32_t capabilities;
        bool good;
    } servers[] = {{0x0311, 1, 0, true},    {0x0311, 2, 0, false}, {0x0311, 0, 0x40, false}, {0x0302, 0, 0x40, true},
                   {0x0300, 0, 0x40, true}, {0x0300, 0, 0, false}, {0x0210, 0, 0x40, false}, {0x0202, 0, 0, false}};
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        next_id = 1;
        smb_guard_init(&guard, true, false);
        enum smb_guard_verdict verdict = negotiate(servers[i].dialect, 1, servers[i].capabilities, servers[i].cipher);
        assert_int_equal(verdict, servers[i].good ? SMB_GUARD_PASS : SMB_GUARD_REFUSE);
    }
}

static void an_answer_is_to_what_was_asked(void **state)
{
    (void)state;
    log_in(false, true);
    read_of(1024, UNSIGNED);
    assert_int_equal(give(HEADER + 16 + 1024), SMB_GUARD_PASS);
    assert_int_equal(give(HEADER + 16 + 1024), SMB_GUARD_REFUSE); /* once */
    log_in(false, true);
    read_of(1025, UNSIGNED);
    assert_int_equal(give(HEADER + 16 + 1025), SMB_GUARD_REFUSE);
    log_in(false, true);
    read_of(1024, UNSIGNED);
    assert_int_equal(give(HEADER + 16 + 1023), SMB_GUARD_REFUSE);
    log_in(false, true);
    read_of(1024, UNSIGNED);
    put(20, 64, 4);
    assert_int_equal(give(HEADER + 16 + 1024), SMB_GUARD_REFUSE);
}

static void an_interim_answer_leaves_the_request_waiting(void **state)
{
    (void)state;
    log_in(false, false);
    ask(READ, 0x103, UNSIGNED | 2);
    put(HEADER, 9, 2);
    assert_int_equal(give(HEADER + 9), SMB_GUARD_PASS);
    assert_true(guard.silent);
    assert_int_equal(guard.asked_count, 1);
    put(16, UNSIGNED, 4);
    assert_int_equal(give(HEADER + 9), SMB_GUARD_REFUSE);
}

static void an_error_passes_when_it_is_whole(void **state)
{
    (void)state;
    log_in(false, false);
    ask(CREATE, 0xc0000034, SIGNED);
    put(HEADER, 9, 2);
    assert_int_equal(smb_guard_answer(&guard, message, HEADER + 8, HEADER + 9), SMB_GUARD_WHOLE);
    assert_int_equal(give(HEADER + 9), SMB_GUARD_PASS);
    ask(CREATE, 0xc0000034, SIGNED);
    put(HEADER, 9, 2);
    put(HEADER + 4, 2, 4);
    assert_int_equal(give(HEADER + 9), SMB_GUARD_REFUSE);
}

static void requests_are_bounded(void **state)
{
    (void)state;
    next_id = 1;
    smb_guard_init(&guard, false, true);
    uint8_t request[HEADER + 16] = "\xfeSMB";
    for (unsigned i = 0; i < SMB_GUARD_ASKED_MAX; i++)
        assert_true(smb_guard_request(&guard, request, sizeof request));
    assert_false(smb_guard_request(&guard, request, sizeof request));
    assert_false(smb_guard_request(&guard, request, 10));
}

static void each_status_has_a_reason_and_words(void **state)
{
    (void)state;
    assert_null(smb_status_find(0));
    assert_int_equal(smb_status_find(0xc000006d)->reason, -EACCES);
    assert_int_equal(smb_status_find(0xc00000cc)->reason, -ENOENT);
    assert_int_equal(smb_status_find(0xc00000ba)->reason, -EISDIR);
    assert_true(smb_status_find(0xc0000043)->transient);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signed_session_passes),
        cmocka_unit_test(what_is_not_signed_is_refused),
        cmocka_unit_test(a_user_is_not_taken_for_a_guest),
        cmocka_unit_test(sealing_is_kept_to),
        cmocka_unit_test(sealing_begins_when_it_is_agreed_only),
        cmocka_unit_test(a_server_that_can_not_seal_is_refused_when_it_must),
        cmocka_unit_test(an_answer_is_to_what_was_asked),
        cmocka_unit_test(an_interim_answer_leaves_the_request_waiting),
        cmocka_unit_test(an_error_passes_when_it_is_whole),
        cmocka_unit_test(requests_are_bounded),
        cmocka_unit_test(each_status_has_a_reason_and_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
