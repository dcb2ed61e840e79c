/* One question to an NFS server, and one answer to it, byte by byte: what is good, and what no server should send. */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../cmocka_all.h"
#include "base/defer.h"
#include "remote/nfs/protocol.h"

#define ASKED                       8 /* bytes of the READs */
#define DATA                        0x64617461, 0x64617461
#define NEVER                       0xffffffff
#define HANDLE                      3, 0x68686800
#define ANSWER                      0, 0, 0, 0 /* RPC: accepted, no verifier, success */
#define FATTR3(size_high, size_low) 1, 0644, 1, 0, 0, size_high, size_low, 0, 0, 0, 0, 0, 7, 0, 9, 1, 2, 3, 4, 5, 6
#define MASK4                       2, 1u << 1 | 1u << 3 | 1u << 4, 0
#define FATTR4(size_high, size_low) MASK4, 20, 1, 0, 11, size_high, size_low
#define COMPOUND(count)             ANSWER, 0, 0, count, 22, 0

enum question { LOOKUP, LINK, ATTRIBUTES, LIMITS, READ, MOUNT, PORT };

static struct rig {
    uv_loop_t loop;
    struct nfs_pool pool;
    struct nfs_rpc *rpc;
    int listener, peer;
    unsigned done;
    struct nfs_reply reply;
    unsigned char data[ASKED];
} rig;

static void on_done(void *owner, const struct nfs_reply *reply)
{
    (void)owner;
    rig.done++;
    rig.reply = *reply;
    if (reply->verdict == REMOTE_OK && reply->length <= ASKED && reply->data)
        memcpy(rig.data, reply->data, reply->length);
}

static void begin(uint64_t stall_timeout_ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int small = 4096, on = 1; /* who takes nothing is soon seen; and no answer waits for the next */
    rig = (struct rig){.peer = -1};
    assert_int_equal(uv_loop_init(&rig.loop), 0);
    defer_init(&rig.loop);
    rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(rig.listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(setsockopt(rig.listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    assert_int_equal(bind(rig.listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(rig.listener, 4), 0);
    assert_int_equal(getsockname(rig.listener, (struct sockaddr *)&address, &length), 0);
    struct nfs_rpc_options options = {
        .loop = &rig.loop, .pool = &rig.pool, .connect_timeout_ms = 5000, .stall_timeout_ms = stall_timeout_ms};
    rig.rpc = nfs_rpc_new(&options, (struct sockaddr *)&address, ntohs(address.sin_port));
}

static void end(void)
{
    nfs_rpc_close(rig.rpc);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    defer_close(&rig.loop);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig.loop), 0);
    assert_int_equal(rig.pool.count, 0);
    close(rig.listener);
    if (rig.peer >= 0)
        close(rig.peer);
}

static struct nfs_call *ask(unsigned version, enum question question)
{
    static const struct nfs_handle handle = {.length = 3, .data = "hhh"};
    const struct nfs_protocol *protocol = version == 4 ? &nfs_protocol_4 : &nfs_protocol_3;
    switch (question) {
    case LOOKUP:
        return protocol->lookup(rig.rpc, &handle, "name", on_done, NULL);
    case LINK:
        return protocol->readlink(rig.rpc, &handle, on_done, NULL);
    case ATTRIBUTES:
        return protocol->attributes(rig.rpc, &handle, on_done, NULL);
    case LIMITS:
        return protocol->limits(rig.rpc, &handle, on_done, NULL);
    case READ:
        return protocol->read(rig.rpc, &handle, 4096, ASKED, on_done, NULL);
    case MOUNT:
        return nfs_ask_mount(rig.rpc, "/folder", on_done, NULL);
    default:
        return nfs_ask_mount_port(rig.rpc, on_done, NULL);
    }
}

/* The server's end, once the question has come; gives its number. */
static uint32_t take_question(void)
{
    unsigned char question[XDR_OUT_MAX];
    uint32_t xid;
    for (ssize_t n = -1; n < 8;) {
        uv_run(&rig.loop, UV_RUN_NOWAIT);
        if (rig.peer < 0)
            rig.peer = accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC);
        n = recv(rig.peer, question, sizeof question, MSG_DONTWAIT);
    }
    memcpy(&xid, question + 4, 4);
    return ntohl(xid);
}

static bool give(const void *bytes, size_t length)
{
    return send(rig.peer, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

static void give_words(const uint32_t *words, size_t count)
{
    uint32_t out[128];
    assert_true(count <= 128);
    for (size_t i = 0; i < count; i++)
        out[i] = htonl(words[i]);
    assert_true(give(out, 4 * count));
}

static void give_answer(uint32_t xid, const uint32_t *words, size_t count)
{
    uint32_t head[3] = {0x80000000u | (uint32_t)(8 + 4 * count), xid, 1};
    give_words(head, 3);
    if (count > 0)
        give_words(words, count);
}

static void wait_done(void)
{
    while (rig.done == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(rig.done, 1);
}

struct answer {
    unsigned version;
    enum question question;
    const char *error; /* part of it; NULL: it is good */
    bool unsupported;
    size_t count;
    uint32_t words[48];
};

#define COUNT(...) (sizeof((uint32_t[]){__VA_ARGS__}) / 4)
#define GOOD(version, question, ...)                                                                                   \
    {                                                                                                                  \
        version, question, NULL, false, COUNT(__VA_ARGS__),                                                            \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define BAD(version, question, error, ...)                                                                             \
    {                                                                                                                  \
        version, question, error, false, COUNT(__VA_ARGS__),                                                           \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define UNSUPPORTED(version, question, ...)                                                                            \
    {                                                                                                                  \
        version, question, "does not offer this version", true, COUNT(__VA_ARGS__),                                    \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

static void check_answer(const struct answer *answer, size_t index)
{
    begin(5000);
    ask(answer->version, answer->question);
    give_answer(take_question(), answer->words, answer->count);
    wait_done();
    if ((rig.reply.verdict == REMOTE_OK) != !answer->error || rig.reply.unsupported != answer->unsupported ||
        (answer->error && !strstr(rig.reply.error, answer->error)))
        fail_msg("answer %zu: %d, %s", index, (int)rig.reply.verdict, rig.reply.error);
    if (answer->error)
        assert_int_not_equal(rig.reply.verdict, REMOTE_TRANSIENT);
    if (!answer->error && answer->question == READ && rig.reply.length == ASKED)
        assert_memory_equal(rig.data, "datadata", ASKED);
    assert_false(nfs_rpc_ended(rig.rpc));
    end();
}

static void check_answers(const struct answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_answer(&answers[i], i);
}

/* --- what answers say --- */

static void errors_of_rpc_are_refusals(void **state)
{
    (void)state;
    static const char refuses[] = "the server refuses the question", unknown[] = "can't be understood";
    const struct answer answers[] = {
        BAD(3, READ, "refuses the credentials", 1, 0, 2, 2),  /* RPC_MISMATCH */
        BAD(4, READ, "check nfs-uid and nfs-gid", 1, 1, 1),   /* AUTH_ERROR: AUTH_BADCRED */
        BAD(4, LOOKUP, "check nfs-uid and nfs-gid", 1, 1, 5), /* AUTH_TOOWEAK */
        BAD(3, MOUNT, "refuses the credentials", 1),          /* and nothing else */
        BAD(3, READ, "refuses the credentials", NEVER),       /* no such word */
        UNSUPPORTED(4, LOOKUP, 0, 0, 0, 1),                   /* PROG_UNAVAIL */
        UNSUPPORTED(4, LOOKUP, 0, 0, 0, 2, 3, 3),             /* PROG_MISMATCH */
        UNSUPPORTED(3, MOUNT, 0, 0, 0, 2),                    /* cut short */
        BAD(4, READ, refuses, 0, 0, 0, 3),                    /* PROC_UNAVAIL */
        BAD(3, READ, refuses, 0, 0, 0, 4),                    /* GARBAGE_ARGS */
        BAD(3, PORT, refuses, 0, 0, 0, 5),                    /* SYSTEM_ERR */
        BAD(3, READ, refuses, 0, 0, 0, NEVER),                /* no such word */
        BAD(3, READ, unknown, 0, 1, NEVER, 0, 0, 0),          /* a verifier without end */
        BAD(3, READ, unknown, 0, 1, 0xfffffffd, 0, 0, 0),     /* whose padding would lead to its begin */
        BAD(4, READ, unknown, 0, 1, 404, 0, 0, 0),            /* beyond its bound */
        BAD(4, READ, unknown, 0, 1, 8, 0),                    /* beyond the answer */
        BAD(4, READ, unknown, 0),
        BAD(3, READ, unknown, ANSWER),
        BAD(4, READ, unknown, ANSWER),
        BAD(3, PORT, unknown, ANSWER),
    };
    check_answers(answers, sizeof answers / sizeof *answers);
    const struct answer nothing = {3, READ, unknown, false, 0, {0}};
    check_answer(&nothing, 99);
}

static void counts_and_lengths_of_version_4_are_not_believed(void **state)
{
    (void)state;
    static const char unknown[] = "can't be understood";
    const struct answer answers[] = {
        GOOD(4, READ, COMPOUND(3), 25, 0, 1, 8, DATA, 9, 0, FATTR4(0, 5000)),
        GOOD(4, READ, COMPOUND(NEVER), 25, 0, 1, 8, DATA, 9, 0, FATTR4(0, 5000)), /* sizes nothing */
        BAD(4, READ, unknown, COMPOUND(NEVER)),
        BAD(4, READ, unknown, COMPOUND(NEVER), 25, 0, 1, 8, DATA),
        BAD(4, READ, unknown, COMPOUND(0)),
        BAD(4, READ, unknown, ANSWER, 0, NEVER, 3, 22, 0),         /* the tag */
        BAD(4, READ, unknown, ANSWER, 0, 1028, 3, 22, 0),          /* beyond its bound */
        BAD(4, READ, unknown, COMPOUND(3), 9, 0, FATTR4(0, 5000)), /* another operation */
        BAD(4, READ, "denies access", COMPOUND(3), 25, 13),        /* refused inside of a good one */
        BAD(4, READ, unknown, COMPOUND(3), 25, 0, 1, NEVER, DATA), /* data without end */
        BAD(4, READ, unknown, COMPOUND(3), 25, 0, 1, 0xfffffffd, DATA),
        BAD(4, READ, unknown, COMPOUND(3), 25, 0, 1, 0x80000000, DATA),
        BAD(4, READ, unknown, COMPOUND(3), 25, 0, 1, 8, 0x64617461),                      /* more than there is */
        BAD(4, READ, unknown, COMPOUND(3), 25, 0, 1, 12, DATA, 0, 9, 0, FATTR4(0, 5000)), /* more than asked for */
        BAD(4, READ, unknown, COMPOUND(3), 25, 0, 1, 9, DATA, 0, 9, 0, FATTR4(0, 5000)),
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, NEVER, 0, 0, 0), /* words of the mask */
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, 3, 26, 0, 0, 20, 1, 0, 11, 0, 5000),
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, 2, NEVER, NEVER, 20, 1, 0, 11, 0, 5000), /* all there are */
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, MASK4, NEVER, 1, 0, 11, 0, 5000),
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, MASK4, 260, 1, 0, 11, 0, 5000),
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, MASK4, 16, 1, 0, 11, 0),          /* less than the mask says */
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, MASK4, 24, 1, 0, 11, 0, 5000, 0), /* and more */
        BAD(4, ATTRIBUTES, unknown, COMPOUND(2), 9, 0, 1, 1u << 4, 8, 0, 5000),          /* the size alone */
        GOOD(4, LIMITS, COMPOUND(2), 9, 0, FATTR4(NEVER, NEVER)),                        /* judged by who opens it */
        GOOD(4, LOOKUP, COMPOUND(4), 15, 0, 10, 0, HANDLE, 9, 0, FATTR4(0, 1)),
        BAD(4, LOOKUP, unknown, COMPOUND(4), 15, 0, 10, 0, NEVER, 0, 9, 0, FATTR4(0, 1)),
        BAD(4, LOOKUP, unknown, COMPOUND(4), 15, 0, 10, 0, 129, 0, 9, 0, FATTR4(0, 1)),
        BAD(4, LOOKUP, "a file handle of 0 bytes", COMPOUND(4), 15, 0, 10, 0, 0, 9, 0, FATTR4(0, 1)),
        GOOD(4, LINK, COMPOUND(2), 27, 0, 4, 0x61626364),
        BAD(4, LINK, unknown, COMPOUND(2), 27, 0, NEVER, 0x61626364),
        BAD(4, LINK, "can't be followed", COMPOUND(2), 27, 0, 0),
        BAD(4, LINK, "can't be followed", COMPOUND(2), 27, 0, 4, 0x61006364), /* a zero byte in it */
    };
    check_answers(answers, sizeof answers / sizeof *answers);
}

static void counts_and_lengths_of_version_3_are_not_believed(void **state)
{
    (void)state;
    static const char unknown[] = "can't be understood";
    const struct answer answers[] = {
        GOOD(3, READ, ANSWER, 0, 0, 8, 1, 8, DATA),
        GOOD(3, READ, ANSWER, 0, 1, FATTR3(0, 5000), 8, 1, 8, DATA),
        BAD(3, READ, "another number of bytes", ANSWER, 0, 0, 12, 1, 8, DATA),
        BAD(3, READ, "another number of bytes", ANSWER, 0, 0, NEVER, 1, 8, DATA),
        BAD(3, READ, unknown, ANSWER, 0, 0, 12, 1, 12, DATA, 0),  /* more than asked for */
        BAD(3, READ, unknown, ANSWER, 0, 0, 8, 1, 8, 0x64617461), /* more than there is */
        BAD(3, READ, unknown, ANSWER, 0, 0, NEVER, 1, NEVER, DATA),
        BAD(3, READ, unknown, ANSWER, 0, 0, 0xfffffffd, 1, 0xfffffffd, DATA),
        BAD(3, READ, unknown, ANSWER, 0, 1, 1, 0644, 1), /* attributes that end too early */
        BAD(3, ATTRIBUTES, unknown, ANSWER, 0, 1, 0644),
        BAD(3, ATTRIBUTES, "error 4294967295", ANSWER, NEVER),
        GOOD(3, LOOKUP, ANSWER, 0, HANDLE, 1, FATTR3(NEVER, NEVER), 0),
        BAD(3, LOOKUP, unknown, ANSWER, 0, NEVER, 0, 0, 0),
        BAD(3, LOOKUP, unknown, ANSWER, 0, 65, 0, 0, 0),
        BAD(3, LOOKUP, "a file handle of 0 bytes", ANSWER, 0, 0, 0, 0),
        BAD(3, LINK, unknown, ANSWER, 0, 0, NEVER, 0x61626364),
        BAD(3, LINK, "can't be followed", ANSWER, 0, 0, 0),
        BAD(3, LINK, "can't be followed", ANSWER, 0, 0, 4, 0x61006364),
        BAD(3, LIMITS, unknown, ANSWER, 0, 0),
        GOOD(3, MOUNT, ANSWER, 0, HANDLE, NEVER), /* flavours: not looked at */
        BAD(3, MOUNT, unknown, ANSWER, 0, NEVER, 0),
        BAD(3, MOUNT, unknown, ANSWER, 0, 68, 0),
        GOOD(3, PORT, ANSWER, 65535),
        BAD(3, PORT, "a port that is none", ANSWER, 65536),
        BAD(3, PORT, "a port that is none", ANSWER, NEVER),
    };
    check_answers(answers, sizeof answers / sizeof *answers);
}

/* --- records --- */

static const uint32_t right[] = {ANSWER, 0, 0, 8, 1, 8, DATA};
#define RIGHT_COUNT (sizeof right / sizeof *right)

static void what_answers_nothing_is_not_taken(void **state)
{
    (void)state;
    static const uint32_t empty[] = {0x80000000u}, call[] = {0x80000008u, 0, 0}, half[] = {0x80000004u, 0};
    begin(5000);
    ask(3, READ);
    uint32_t xid = take_question();
    const uint32_t same_number_but_a_call[] = {0x80000008u, xid, 0}, short_one[] = {0x80000004u, xid};
    give_answer(xid + 1, right, RIGHT_COUNT);
    give_answer(xid - 1, right, RIGHT_COUNT);
    give_answer(htonl(xid) ^ 1, right, RIGHT_COUNT);
    give_words(empty, 1);
    give_words(call, 3);
    give_words(half, 2);
    give_words(same_number_but_a_call, 3);
    give_words(short_one, 2);
    for (int i = 0; i < 50; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(rig.done, 0);
    give_answer(xid, right, RIGHT_COUNT);
    wait_done();
    assert_int_equal(rig.reply.verdict, REMOTE_OK);
    give_answer(xid, right, RIGHT_COUNT); /* again: nobody asked */
    for (int i = 0; i < 50; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(rig.done, 1);
    assert_false(nfs_rpc_ended(rig.rpc));
    end();
}

static void a_record_comes_in_any_pieces(void **state)
{
    (void)state;
    begin(5000);
    ask(3, READ);
    uint32_t record[2 + RIGHT_COUNT] = {htonl(take_question()), htonl(1)};
    for (size_t i = 0; i < RIGHT_COUNT; i++)
        record[2 + i] = htonl(right[i]);
    for (size_t at = 0; at < sizeof record; at++) {
        uint32_t marker = htonl(1u | (at + 1 == sizeof record ? 0x80000000u : 0)), nothing = 0;
        for (size_t i = 0; i < 4; i++) {
            assert_true(give((char *)&marker + i, 1));
            uv_run(&rig.loop, UV_RUN_NOWAIT);
        }
        assert_true(give((char *)record + at, 1));
        if (at + 1 < sizeof record)
            assert_true(give(&nothing, 4));
    }
    wait_done();
    assert_int_equal(rig.reply.verdict, REMOTE_OK);
    assert_memory_equal(rig.data, "datadata", ASKED);
    end();
}

/* What comes again and again ends the connection, and all that was asked fails. */
static void check_endless(const void *first, size_t first_length, const void *again, size_t length)
{
    begin(5000);
    ask(4, READ);
    take_question();
    if (first_length)
        assert_true(give(first, first_length));
    for (size_t sent = 0; rig.done == 0; uv_run(&rig.loop, UV_RUN_NOWAIT)) {
        if (give(again, length))
            sent += length;
        assert_true(sent < 16u << 20); /* far beyond what the sockets hold */
    }
    assert_int_equal(rig.reply.verdict, REMOTE_TRANSIENT);
    assert_non_null(strstr(rig.reply.error, "sends what no answer is"));
    assert_true(nfs_rpc_ended(rig.rpc));
    ask(4, READ);
    rig.done = 0;
    wait_done();
    assert_int_equal(rig.reply.verdict, REMOTE_TRANSIENT);
    end();
}

static void what_never_ends_ends_the_connection(void **state)
{
    (void)state;
    static uint32_t fragments[1024], full[1024], records[1024], huge;
    full[0] = htonl(4092);
    for (size_t i = 0; i < 1024; i++)
        records[i] = htonl(0x80000000u);
    huge = htonl(NFS_RECORD_MAX + 1);
    check_endless(NULL, 0, fragments, sizeof fragments); /* empty ones, never the last */
    check_endless(NULL, 0, full, sizeof full);
    check_endless(NULL, 0, records, sizeof records);
    check_endless(&huge, 4, full, sizeof full);
    huge = NEVER;
    check_endless(&huge, 4, full, sizeof full);
}

/* --- questions --- */

static void ask_until_it_ends(bool cancelled)
{
    unsigned asked = 0;
    for (; !nfs_rpc_ended(rig.rpc); asked++) {
        struct nfs_call *call = ask(4, ATTRIBUTES);
        if (cancelled && !nfs_rpc_ended(rig.rpc))
            nfs_call_cancel(call);
        if (rig.peer >= 0) { /* it takes them, but answers none */
            unsigned char taken[65536];
            uv_run(&rig.loop, UV_RUN_NOWAIT);
            while (recv(rig.peer, taken, sizeof taken, MSG_DONTWAIT) > 0)
                ;
        }
        assert_true(asked <= NFS_CALLS_MAX);
    }
    assert_true(asked > 256); /* what ranges in flight may ask */
    while (rig.done == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(rig.done, cancelled ? 2 : 1 + asked); /* the caller's first, and of the cancelled only the last */
    assert_int_equal(rig.reply.verdict, REMOTE_TRANSIENT);
    assert_non_null(strstr(rig.reply.error, "too many questions without an answer"));
}

static void questions_that_are_not_answered_have_a_bound(void **state)
{
    (void)state;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        begin(60000);
        ask(4, ATTRIBUTES);
        take_question();
        ask_until_it_ends(cancelled);
        end();
    }
}

/* It takes no question, but answers each: the numbers are easily guessed. */
static void questions_that_are_not_taken_have_a_bound(void **state)
{
    (void)state;
    begin(60000);
    ask(3, READ);
    uint32_t xid = take_question();
    for (size_t answered = 0; !nfs_rpc_ended(rig.rpc); answered++) {
        give_answer(xid++, right, RIGHT_COUNT);
        for (rig.done = 0; rig.done == 0;)
            uv_run(&rig.loop, UV_RUN_ONCE);
        ask(3, READ);
        assert_true(answered < 1u << 20);
    }
    for (rig.done = 0; rig.done == 0;)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(rig.reply.verdict, REMOTE_TRANSIENT);
    assert_non_null(strstr(rig.reply.error, "too many questions without an answer"));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_rpc_are_refusals),
        cmocka_unit_test(counts_and_lengths_of_version_4_are_not_believed),
        cmocka_unit_test(counts_and_lengths_of_version_3_are_not_believed),
        cmocka_unit_test(what_answers_nothing_is_not_taken),
        cmocka_unit_test(a_record_comes_in_any_pieces),
        cmocka_unit_test(what_never_ends_ends_the_connection),
        cmocka_unit_test(questions_that_are_not_answered_have_a_bound),
        cmocka_unit_test(questions_that_are_not_taken_have_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
