/* The HTTP server, byte by byte: any split of the input gives the same answers. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "http/head.h"
#include "http_rig.h"

#define OUTPUT_SIZE 20000
#define H           "Host: h\r\n"

static const size_t splits[] = {0, 1, 2, 3, 7, 64, 1000};

/* The statuses in what the server said, and whether it closed: "200 404 close". */
static void summary(const struct http_rig *rig, const char *output, char *to, size_t size)
{
    size_t used = 0;
    to[0] = 0;
    for (const char *p = output; (p = strstr(p, "HTTP/1.1 ")) != NULL; p += 9)
        used += (size_t)snprintf(to + used, size - used, "%s%.3s", used ? " " : "", p + 9);
    snprintf(to + used, size - used, "%s", rig->ended ? " close" : "");
}

/* Plays the input in every split and checks that the answers are the same. The first's are left in `output`. */
static void play(const char *input, size_t length, char output[OUTPUT_SIZE], char statuses[200])
{
    static char again[OUTPUT_SIZE];
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        struct http_rig rig;
        char *to = i == 0 ? output : again;
        if (splits[i] && splits[i] < length / 1000)
            continue; /* thousands of pieces take long and show nothing new */
        http_rig_begin(&rig, NULL);
        http_rig_talk(&rig, input, length, splits[i], to, OUTPUT_SIZE);
        if (i == 0)
            summary(&rig, to, statuses, 200);
        else if (strcmp(output, again) != 0)
            fail_msg("split %zu of %.60s\n%s\nbut whole:\n%s", splits[i], input, again, output);
        http_rig_end(&rig);
    }
}

static void expect(const char *input, const char *statuses)
{
    static char output[OUTPUT_SIZE];
    char got[200];
    play(input, strlen(input), output, got);
    if (strcmp(got, statuses) != 0)
        fail_msg("%.300s\ngives \"%s\", not \"%s\":\n%s", input, got, statuses, output);
}

static void expect_text(const char *input, const char *text)
{
    static char output[OUTPUT_SIZE];
    char got[200];
    play(input, strlen(input), output, got);
    if (!strstr(output, text))
        fail_msg("%.300s\ndoes not give \"%s\":\n%s", input, text, output);
}

static void an_answer_is_complete(void **state)
{
    (void)state;
    expect_text("GET /hello HTTP/1.1\r\n" H "\r\n",
                "HTTP/1.1 200 OK\r\nDate: .............................\r\nContent-Length: 5\r\n"
                "Content-Type: text/plain\r\n\r\nhello");
    expect_text("HEAD /hello HTTP/1.1\r\n" H "\r\nGET /none HTTP/1.1\r\n" H "\r\n",
                "Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nHTTP/1.1 404 Not Found\r\n");
    expect_text("GET /chunks HTTP/1.1\r\n" H "\r\n",
                "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n6\r\ntwotwo\r\n0\r\n\r\n");
    expect_text("HEAD /chunks HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n",
                "Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n");
}

static void connections_are_kept_or_not(void **state)
{
    (void)state;
    expect("GET /hello HTTP/1.1\r\n" H "\r\nGET /x HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n",
           "200 404 200");
    expect("GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n", "200 close");
    expect("GET /hello HTTP/1.1\r\n" H "Connection: foo, Close\r\n\r\n", "200 close");
    expect("GET /hello HTTP/1.0\r\n\r\n", "200 close");
    expect("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n", "200 200 close");
    expect_text("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: close\r\n\r\nonetwotwo");
    expect("\r\nGET /hello HTTP/1.1\r\n" H "\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n", "200 200");
    expect("GET /short HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n", "200 close");
}

static void bodies_are_taken(void **state)
{
    (void)state;
    expect_text("POST /echo HTTP/1.1\r\n" H "Content-Length: 11\r\n\r\nhello world", "\r\n\r\nhello world");
    expect_text("POST /echo HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n");
    expect_text("POST /echo HTTP/1.1\r\n" H "\r\n", "Content-Length: 0\r\n");
    expect_text("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n6;q=\"a\"\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
                "\r\n\r\nhello world");
    expect_text("PUT /count HTTP/1.1\r\n" H
                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n1\r\ng\r\n0\r\n\r\n",
                "\r\n\r\n7 bytes");
    expect_text("PUT /count HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nabcdefghiGET /hello HTTP/1.1\r\n" H "\r\n",
                "\r\n\r\n9 bytesHTTP/1.1 200 OK");
    expect("POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\n" H "\r\n", "200 200");
    expect("POST /ignore HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\n" H "\r\n", "200 200");
}

static void bodies_are_bounded(void **state)
{
    (void)state;
    static char big[3000];
    expect("POST /echo HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\nabc", "413");
    expect("POST /echo HTTP/1.1\r\n" H "Content-Length: 9223372036854775807\r\n\r\nabc", "413");
    expect("POST /echo HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\nabc", "413");
    expect("POST /echo HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\nabc", "413");
    int head = snprintf(big, sizeof big, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3e8\r\n");
    memset(big + head, 'x', 1000);
    strcpy(big + head + 1000, "\r\n0\r\n\r\n");
    expect(big, "200");
    strcpy(big + head + 1000, "\r\n1\r\ny\r\n0\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
    expect(big, "413");
    expect("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", "413");
    expect("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "413");
    /* Nobody wants it: a long one costs the connection, and is no second request. */
    expect("POST /ignore HTTP/1.1\r\n" H "Content-Length: 70000\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n", "200");
    expect("POST /ignore HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", "200");
}

static void chunk_lines_are_bounded(void **state)
{
    (void)state;
    static char big[12000], output[OUTPUT_SIZE];
    struct http_rig rig;
    char statuses[200];
    for (int kind = 0; kind < 2; kind++) {
        size_t used =
            (size_t)snprintf(big, sizeof big, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n%s",
                             kind ? "0\r\nX: " : "1;x=");
        memset(big + used, 'a', HTTP_CHUNK_LINES_MAX + 10);
        used += HTTP_CHUNK_LINES_MAX + 10;
        http_rig_begin(&rig, NULL);
        http_rig_talk(&rig, big, used, 0, output, sizeof output);
        summary(&rig, output, statuses, sizeof statuses);
        assert_string_equal(statuses, "413");
        http_rig_end(&rig);
    }
}

static void what_is_ambiguous_is_refused(void **state)
{
    (void)state;
    static const char *const heads[] = {"Host: h\nX: y",
                                        H "X: a\rb: c",
                                        H " folded: x",
                                        H "X: a\r\n folded",
                                        H "X : a",
                                        H ": a",
                                        H "X",
                                        H "X: \x01",
                                        H "X: a\x7f",
                                        H "X\x80: a",
                                        "Host: h\r\nHost: h",
                                        "Host: a b",
                                        "Host: h/",
                                        "Host: u@h",
                                        "Host: [::1",
                                        "Host:",
                                        H "Content-Length: 1\r\nContent-Length: 1",
                                        H "Content-Length: 1, 1",
                                        H "Content-Length: +1",
                                        H "Content-Length: -1",
                                        H "Content-Length: 0x1",
                                        H "Content-Length: 1 1",
                                        H "Content-Length:",
                                        H "Content-Length: 3\r\nTransfer-Encoding: chunked",
                                        H "Transfer-Encoding: xchunked",
                                        H "Transfer-Encoding: chunked, identity",
                                        H "Transfer-Encoding: identity, chunked",
                                        H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                                        H "Transfer-Encoding:",
                                        H "Transfer-Encoding: ,",
                                        H "Transfer-Encoding: \"chunked\"",
                                        H "Authorization: a\r\nauthorization: b",
                                        H "Cookie: a\r\nCookie: b",
                                        H "Origin: a\r\nOrigin: b",
                                        "X: y"};
    char input[400];
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        snprintf(input, sizeof input, "POST /echo HTTP/1.1\r\n%s\r\n\r\nabcGET /hello HTTP/1.1\r\n" H "\r\n", heads[i]);
        expect(input, "400");
    }
    expect("GET /hello HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400");
    expect("GET /hello HTTP/1.1\n" H "\r\n", "400");
    expect("\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n", "400");
    expect("\x16\x03\x01", "400");
}

static void chunks_are_read_strictly(void **state)
{
    (void)state;
    static const char *const bodies[] = {"5\nhello\n0\n\n",
                                         "g\r\n",
                                         "-1\r\nx",
                                         "0x5\r\nhello\r\n",
                                         "5\r\nhelloX\r\n0\r\n\r\n",
                                         "5\r\nhello0\r\n",
                                         "ffffffffffffffffff\r\nx",
                                         "\r\n",
                                         "5 \r\nhello\r\n",
                                         "5\rhello",
                                         "1;\x01\r\nx\r\n"};
    char input[400];
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        snprintf(input, sizeof input, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n%s", bodies[i]);
        expect(input, "400");
    }
}

static void request_lines_are_checked(void **state)
{
    (void)state;
    expect("BREW /hello HTTP/1.1\r\n" H "\r\n", "501");
    expect("CONNECT h:1 HTTP/1.1\r\n" H "\r\n", "501");
    expect("TRACE /hello HTTP/1.1\r\n" H "\r\n", "501");
    expect("get /hello HTTP/1.1\r\n" H "\r\n", "501");
    expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505");
    expect("GET /hello HTTP/2.0\r\n" H "\r\n", "505");
    expect("GET /hello HTTP/1.2\r\n" H "\r\n", "505");
    expect("GET /hello HTTP/0.9\r\n" H "\r\n", "505");
    expect("GET /hello HTTP/1.10\r\n" H "\r\n", "400");
    expect("GET /hello http/1.1\r\n" H "\r\n", "400");
    expect("GET /hello\r\n" H "\r\n", "400");
    expect("GET  /hello HTTP/1.1\r\n" H "\r\n", "400");
    expect("GET /hello  HTTP/1.1\r\n" H "\r\n", "400");
    expect("GET /hel\tlo HTTP/1.1\r\n" H "\r\n", "400");
    expect(" GET /hello HTTP/1.1\r\n" H "\r\n", "400");
    expect("G@T /hello HTTP/1.1\r\n" H "\r\n", "400");
    expect("GET /hello HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", "417");
}

static void targets_are_cleaned_or_refused(void **state)
{
    (void)state;
    static const char *const good[][2] = {{"/info", "/info||h"},
                                          {"/info?a=b&c=%2F", "/info|a=b&c=%2F|h"},
                                          {"//info/./x//y/", "/info/x/y/||h"},
                                          {"/info/%41%20b", "/info/A b||h"},
                                          {"/info/a%25b", "/info/a%b||h"},
                                          {"/info/.", "/info/||h"},
                                          {"/info/...", "/info/...||h"},
                                          {"http://h/info?x", "/info|x|h"},
                                          {"HTTPS://H/info", "/info||h"},
                                          {"/info?", "/info||h"},
                                          {"/info??", "/info|?|h"},
                                          {"/info/%C3%A4", "/info/\xc3\xa4||h"},
                                          {"/info?{|}", "/info|{|}|h"}};
    static const char *const bad[] = {
        "/info/..",  "/../info",  "/info/%2e%2e/x", "/info/.%2E",   "/info/%2f",       "/info%5cx", "/info\\x",
        "/info/%00", "/info/%0a", "/info/%7f",      "/info/%",      "/info/%4",        "/info/%zz", "info",
        "*",         "/info#x",   "http://g/info",  "ftp://h/info", "http://u@h/info", "h:80",      "/info/\xc3\xa4",
        "/info?\"",  "//../x",    "/a/%2e./b"};
    char input[300], text[100];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(input, sizeof input, "GET %s HTTP/1.1\r\n" H "\r\n", good[i][0]);
        snprintf(text, sizeof text, "GET|%s|test|0|-", good[i][1]);
        expect_text(input, text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(input, sizeof input, "GET %s HTTP/1.1\r\n" H "\r\n", bad[i]);
        expect(input, "400");
    }
    expect("OPTIONS * HTTP/1.1\r\n" H "\r\n", "404");
    expect_text("GET /info HTTP/1.1\r\nHost: [fe80::1]:8443\r\nX-TEST: \t a b \t\r\n\r\n",
                "||[fe80::1]:8443|test|0|a b");
}

static void heads_are_bounded(void **state)
{
    (void)state;
    static char big[40000], output[OUTPUT_SIZE];
    char statuses[200];
    size_t used = (size_t)snprintf(big, sizeof big, "GET /hello HTTP/1.1\r\n" H);
    for (unsigned i = 0; i < HTTP_FIELDS_MAX - 1; i++)
        used += (size_t)snprintf(big + used, sizeof big - used, "X%u: y\r\n", i);
    strcpy(big + used, "\r\n");
    play(big, strlen(big), output, statuses);
    assert_string_equal(statuses, "200");
    strcpy(big + used, "One: more\r\n\r\n");
    play(big, strlen(big), output, statuses);
    assert_string_equal(statuses, "431");

    used = (size_t)snprintf(big, sizeof big, "GET /hello HTTP/1.1\r\n" H "X: ");
    memset(big + used, 'a', HTTP_LINE_MAX);
    strcpy(big + used + HTTP_LINE_MAX - 4, "\r\n\r\n");
    play(big, strlen(big), output, statuses);
    assert_string_equal(statuses, "200");
    memset(big + used, 'a', 30000);
    play(big, 30000, output, statuses);
    assert_string_equal(statuses, "431");

    used = (size_t)snprintf(big, sizeof big, "GET /hello");
    memset(big + used, 'a', 30000);
    play(big, 30000, output, statuses);
    assert_string_equal(statuses, "414");
}

static void an_answer_cannot_be_split(void **state)
{
    (void)state;
    static char output[OUTPUT_SIZE];
    char statuses[200];
    const char *input = "GET /bad HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n";
    play(input, strlen(input), output, statuses);
    assert_string_equal(statuses, "500 200");
    assert_null(strstr(output, "Cookie"));
    assert_null(strstr(output, "Location"));
}

static void the_client_is_told_to_go_on_only_if_its_body_is_wanted(void **state)
{
    (void)state;
    struct http_rig rig;
    char output[2000], statuses[200];
    const char *good = "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    const char *long_one = "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3000\r\n\r\n";
    const char *unwanted = "POST /ignore HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    http_rig_begin(&rig, NULL);
    assert_true(send(rig.client, good, strlen(good), 0) > 0);
    http_rig_collect(&rig, output, sizeof output);
    assert_string_equal(output, "HTTP/1.1 100 Continue\r\n\r\n");
    http_rig_talk(&rig, "abc", 3, 0, output, sizeof output);
    assert_non_null(strstr(output, "\r\n\r\nabc"));
    assert_true(send(rig.client, long_one, strlen(long_one), 0) > 0);
    http_rig_collect(&rig, output, sizeof output);
    summary(&rig, output, statuses, sizeof statuses);
    assert_string_equal(statuses, "413");
    http_rig_connect(&rig);
    assert_true(send(rig.client, unwanted, strlen(unwanted), 0) > 0);
    http_rig_collect(&rig, output, sizeof output);
    summary(&rig, output, statuses, sizeof statuses);
    assert_string_equal(statuses, "200");
    assert_non_null(strstr(output, "Connection: close"));
    http_rig_end(&rig);
}

static void gigabytes_need_no_memory(void **state)
{
    (void)state;
    static char piece[1 << 20], output[OUTPUT_SIZE];
    struct http_rig rig;
    const char *head = "PUT /count HTTP/1.1\r\n" H "Content-Length: 50331648\r\n\r\n"; /* 48 pieces */
    http_rig_begin(&rig, NULL);
    http_rig_talk(&rig, head, strlen(head), 0, output, sizeof output);
    for (int i = 0; i < 48; i++)
        http_rig_talk(&rig, piece, sizeof piece, 0, output, sizeof output);
    assert_non_null(strstr(output, "\r\n\r\n50331648 bytes"));
    http_rig_end(&rig);
}

static void a_slow_reader_gets_everything(void **state)
{
    (void)state;
    struct http_rig rig;
    static char output[HTTP_RIG_BIG + 1000];
    const char *input = "GET /big HTTP/1.1\r\n" H "\r\n";
    http_rig_begin(&rig, NULL);
    assert_true(send(rig.client, input, strlen(input), 0) > 0);
    for (int i = 0; i < 20; i++)
        uv_run(rig.loop, UV_RUN_NOWAIT);
    size_t length = http_rig_collect(&rig, output, sizeof output);
    const char *body = strstr(output, "\r\n\r\n") + 4;
    assert_int_equal(length - (size_t)(body - output), HTTP_RIG_BIG);
    assert_int_equal(strspn(body, "b"), HTTP_RIG_BIG);
    http_rig_end(&rig);
}

/* --- who goes away, and when --- */

static void run(struct http_rig *rig, int turns)
{
    for (int i = 0; i < turns; i++)
        uv_run(rig->loop, UV_RUN_NOWAIT);
}

static void say(struct http_rig *rig, const char *text)
{
    assert_int_equal(send(rig->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    run(rig, 5);
}

static void a_client_that_goes_cancels_its_request_once(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "GET /later HTTP/1.1\r\n" H "\r\n", "POST /echo HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nabc",
        "PUT /count HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nab", "GET /big HTTP/1.1\r\n" H "\r\n"};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        struct http_rig rig;
        http_rig_begin(&rig, NULL);
        say(&rig, inputs[i]);
        assert_int_equal(rig.handled, 1);
        assert_int_equal(rig.gone, 0);
        close(rig.client);
        rig.client = -1;
        run(&rig, 5);
        assert_int_equal(rig.gone, 1);
        assert_int_equal(http_server_connections(rig.server), 0);
        http_rig_end(&rig);
        assert_int_equal(rig.gone, 1);
    }
}

static void the_server_closing_cancels_too(void **state)
{
    (void)state;
    struct http_rig rig;
    http_rig_begin(&rig, NULL);
    say(&rig, "GET /later HTTP/1.1\r\n" H "\r\n");
    http_rig_end(&rig);
    assert_int_equal(rig.gone, 1);
}

static void an_answer_may_come_later_and_pipelined_ones_wait(void **state)
{
    (void)state;
    struct http_rig rig;
    char output[2000], statuses[200];
    http_rig_begin(&rig, NULL);
    say(&rig, "GET /later HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(rig.handled, 1);
    assert_non_null(rig.kept);
    http_reply(rig.kept, 201, NULL, "x", 1);
    rig.kept = NULL;
    http_rig_collect(&rig, output, sizeof output);
    summary(&rig, output, statuses, sizeof statuses);
    assert_string_equal(statuses, "201 200");
    http_rig_end(&rig);
    assert_int_equal(rig.gone, 0);
}

static void what_is_sent_ahead_is_bounded(void **state)
{
    (void)state;
    struct http_rig rig;
    static char junk[100000];
    size_t total = 0;
    http_rig_begin(&rig, NULL);
    say(&rig, "GET /later HTTP/1.1\r\n" H "\r\n");
    for (int quiet = 0; quiet < 10;) {
        ssize_t n = send(rig.client, junk, sizeof junk, MSG_NOSIGNAL);
        quiet = n > 0 ? 0 : quiet + 1;
        total += n > 0 ? (size_t)n : 0;
        run(&rig, 2);
        assert_true(total < 4 << 20);
    }
    assert_int_equal(rig.handled, 1);
    http_rig_end(&rig);
}

static void half_a_request_is_no_request(void **state)
{
    (void)state;
    static const char *const inputs[] = {"", "GET", "GET /hello HTTP/1.1\r\n" H "\r"};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        struct http_rig rig;
        http_rig_begin(&rig, NULL);
        say(&rig, inputs[i]);
        shutdown(rig.client, SHUT_WR);
        run(&rig, 5);
        assert_int_equal(rig.handled, 0);
        assert_int_equal(http_server_connections(rig.server), 0);
        http_rig_end(&rig);
    }
}

/* --- how the use of a request ends --- */

static void begin_and_end(struct http_request *request)
{
    struct slices data;
    http_begin(request, 200, 5);
    slices_init(&data);
    slices_add_copy(&data, "hello", 5);
    http_write(request, &data);
    assert_int_equal(data.count, 0); /* taken over, although nobody is there */
    assert_int_equal(http_unsent(request), 0);
    http_end(request);
}

static void reply(struct http_request *request)
{
    http_add_field(request, "X-Test", "1");
    http_reply(request, 200, "text/plain", "hello", 5);
}

static void reply_badly(struct http_request *request)
{
    http_add_field(request, "X-Test", "1\r\n");
    http_reply(request, 200, "text/plain", "hello", 5);
}

static void reply_slices(struct http_request *request)
{
    struct slices data;
    slices_init(&data);
    slices_add_copy(&data, "hello", 5);
    http_reply_slices(request, 200, &data);
    assert_int_equal(data.count, 0);
}

static void upgrade(struct http_request *request)
{
    struct slices early;
    slices_init(&early);
    assert_null(http_upgrade(request, "echo", &early));
    assert_int_equal(early.count, 0);
}

static void on_no_body(struct http_request *request, const uint8_t *data, size_t length)
{
    (void)request;
    (void)data;
    (void)length;
    fail();
}

static void die_of_the_body(struct http_rig *rig)
{
    http_receive_all(rig->kept, 2, on_no_body); /* answered 413 */
}

static void die_of_too_many_bytes(struct http_rig *rig)
{
    struct slices data;
    http_begin(rig->kept, 200, 1);
    slices_init(&data);
    slices_add_copy(&data, "hello", 5);
    http_write(rig->kept, &data);
}

static void on_no_drain(struct http_request *request)
{
    (void)request;
    fail();
}

/* Each way to answer, on a request that died each way, before its handler was told. */
static void an_answer_to_a_dead_request_ends_its_use(void **state)
{
    (void)state;
    static void (*const answers[])(struct http_request *request) = {
        reply, reply_badly, reply_slices, http_end, begin_and_end, http_abort, upgrade};
    static void (*const deaths[])(struct http_rig *rig) = {http_rig_close_server, die_of_the_body, die_of_too_many_bytes};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        for (size_t j = 0; j < sizeof deaths / sizeof *deaths; j++) {
            struct http_rig rig;
            http_rig_begin(&rig, NULL);
            say(&rig, "POST /later HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 3\r\n\r\nabc");
            assert_non_null(rig.kept);
            rig.kept->on_drain = on_no_drain;
            deaths[j](&rig);
            assert_int_equal(rig.gone, 0);
            answers[i](rig.kept);
            rig.kept = NULL;
            run(&rig, 5);
            http_rig_end(&rig);
            assert_int_equal(rig.gone, 0);
        }
}

static void what_is_no_answer_leaves_it_to_be_told(void **state)
{
    (void)state;
    struct http_rig rig;
    struct slices data;
    http_rig_begin(&rig, NULL);
    say(&rig, "GET /later HTTP/1.1\r\n" H "\r\n");
    http_rig_close_server(&rig);
    http_add_field(rig.kept, "X-Test", "1");
    http_begin(rig.kept, 200, -1);
    slices_init(&data);
    slices_add_copy(&data, "hello", 5);
    http_write(rig.kept, &data);
    http_receive_all(rig.kept, 2, on_no_body);
    http_receive_more(rig.kept, false);
    assert_int_equal(http_unsent(rig.kept), 0);
    assert_string_equal(rig.kept->path, "/later");
    assert_int_equal(rig.gone, 0);
    http_rig_end(&rig);
    assert_int_equal(rig.gone, 1);
}

/* What can't be sent as it is ends the use no earlier than the handler does. */
static void an_answer_that_fails_ends_when_its_handler_ends_it(void **state)
{
    (void)state;
    struct http_rig rig;
    char output[2000], statuses[200];
    http_rig_begin(&rig, NULL);
    say(&rig, "GET /later HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
    http_add_field(rig.kept, "Bad", "\r\n");
    http_begin(rig.kept, 200, 3);
    run(&rig, 5);
    assert_int_equal(rig.handled, 1);
    begin_and_end(rig.kept);
    rig.kept = NULL;
    http_rig_collect(&rig, output, sizeof output);
    summary(&rig, output, statuses, sizeof statuses);
    assert_string_equal(statuses, "500 200");
    say(&rig, "GET /later HTTP/1.1\r\n" H "\r\n");
    die_of_too_many_bytes(&rig);
    assert_int_equal(rig.gone, 0);
    run(&rig, 5);
    assert_int_equal(rig.gone, 1);
    http_rig_end(&rig);
}

static void a_second_answer_cuts_the_connection(void **state)
{
    (void)state;
    static void (*const answers[])(struct http_request *request) = {reply, reply_slices, upgrade};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct http_rig rig;
        char output[2000];
        http_rig_begin(&rig, NULL);
        say(&rig, "GET /later HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        http_begin(rig.kept, 200, 5);
        answers[i](rig.kept);
        rig.kept = NULL;
        http_rig_collect(&rig, output, sizeof output);
        assert_true(rig.ended);
        assert_null(strstr(output, "hello"));
        http_rig_end(&rig);
        assert_int_equal(rig.gone, 0);
    }
}

/* --- deadlines --- */

static void expect_in_time(const char *input, bool trickle, const char *statuses)
{
    struct http_server_options options = {
        .max_connections = 2, .head_timeout_ms = 60, .body_timeout_ms = 60, .idle_timeout_ms = 60};
    struct http_rig rig;
    static char output[OUTPUT_SIZE];
    char got[200];
    size_t used = 0;
    http_rig_begin(&rig, &options);
    say(&rig, input);
    for (int i = 0; i < 2000 && !rig.ended; i++) {
        if (trickle)
            send(rig.client, "x", 1, MSG_NOSIGNAL);
        usleep(2000);
        if (used < OUTPUT_SIZE - 1000)
            used += http_rig_collect(&rig, output + used, sizeof output - used);
        if (strstr(output, "408"))
            break;
    }
    http_rig_normalise(output, &used);
    summary(&rig, output, got, sizeof got);
    assert_string_equal(got, statuses);
    http_rig_end(&rig);
}

static void who_is_slow_is_sent_away(void **state)
{
    (void)state;
    expect_in_time("", false, " close");
    expect_in_time("GET /hello HTTP/1.1\r\nX: ", true, "408");
    expect_in_time("GET /hello HTTP/1.1\r\n" H "\r\n", false, "200 close");
    expect_in_time("POST /echo HTTP/1.1\r\n" H "Content-Length: 900\r\n\r\n", true, "408");
    expect_in_time("POST /echo HTTP/1.1\r\n" H "Content-Length: 900\r\n\r\n", false, "408");
    expect_in_time("POST /ignore HTTP/1.1\r\n" H "Content-Length: 60000\r\n\r\n", true, "200 close");
}

static void who_does_not_read_is_sent_away(void **state)
{
    (void)state;
    struct http_server_options options = {.max_connections = 2, .body_timeout_ms = 60};
    struct http_rig rig;
    http_rig_begin(&rig, &options);
    say(&rig, "GET /big HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 200 && rig.gone == 0; i++) {
        usleep(2000);
        run(&rig, 1);
    }
    run(&rig, 3);
    assert_int_equal(rig.gone, 1);
    assert_int_equal(http_server_connections(rig.server), 0);
    http_rig_end(&rig);
}

static void one_connection_too_many_is_told(void **state)
{
    (void)state;
    struct http_server_options options = {.max_connections = 1};
    struct http_rig rig;
    char output[1000], statuses[200];
    http_rig_begin(&rig, &options);
    int first = rig.client;
    rig.client = -1;
    http_rig_connect(&rig);
    http_rig_collect(&rig, output, sizeof output);
    summary(&rig, output, statuses, sizeof statuses);
    assert_string_equal(statuses, "503");
    close(rig.client);
    rig.client = first;
    http_rig_talk(&rig, "GET /hello HTTP/1.1\r\n" H "\r\n", 32, 0, output, sizeof output);
    assert_non_null(strstr(output, "200 OK"));
    http_rig_end(&rig);
}

/* --- upgrades --- */

static void an_upgrade_hands_over_the_stream_with_what_came_early(void **state)
{
    (void)state;
    expect_text("GET /switch HTTP/1.1\r\n" H "Connection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\nearly and late",
                "HTTP/1.1 101 Switching Protocols\r\nDate: .............................\r\nConnection: Upgrade\r\n"
                "Upgrade: echo\r\n\r\nearly and late");
    expect("GET /switch HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n", "426 200");
    expect("GET /hello HTTP/1.1\r\n" H
           "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
           "GET /hello HTTP/1.1\r\n" H "\r\n",
           "200 200");
    expect("POST /switch HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 3\r\n\r\nabc"
           "GET /hello HTTP/1.1\r\n" H "\r\n",
           "426 200");
}

/* --- content --- */

static void content_is_conditional_and_partial(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *status, *text;
    } cases[] = {
        {"", "200", "\r\n\r\n0123456789abcdefghijklmnopqrstuvwxyz"},
        {"Range: bytes=2-4\r\n", "206", "Content-Range: bytes 2-4/36\r\nContent-Type: text/plain\r\n\r\n234"},
        {"Range: bytes=30-\r\n", "206", "Content-Range: bytes 30-35/36\r\nContent-Type: text/plain\r\n\r\nuvwxyz"},
        {"Range: bytes=-3\r\n", "206", "bytes 33-35/36\r\nContent-Type: text/plain\r\n\r\nxyz"},
        {"Range: bytes=-300\r\n", "206", "bytes 0-35/36\r\n"},
        {"Range: bytes=0-99999999999999999999999\r\n", "206", "bytes 0-35/36\r\n"},
        {"Range: bytes=36-\r\n", "416", "Content-Range: bytes */36\r\n\r\n"},
        {"Range: bytes=-0\r\n", "416", "bytes */36\r\n"},
        {"Range: bytes=4-2\r\n", "200", "Content-Length: 36"},
        {"Range: bytes=1-2,4-5\r\n", "200", "Content-Length: 36"},
        {"Range: lines=1-2\r\n", "200", "Content-Length: 36"},
        {"Range: bytes=a-2\r\n", "200", "Content-Length: 36"},
        {"If-None-Match: %s\r\n", "304", "ETag: "},
        {"If-None-Match: \"a,b\", W/%s\r\n", "304", "ETag: "},
        {"If-None-Match: \"x\"\r\nIf-None-Match: %s\r\n", "304", "ETag: "},
        {"If-None-Match: *\r\n", "304", "ETag: "},
        {"If-None-Match: \"x\"\r\n", "200", "Content-Length: 36"},
        {"If-None-Match: x%s\r\n", "200", "Content-Length: 36"},
        {"If-Match: %s\r\n", "200", "Content-Length: 36"},
        {"If-Match: W/%s\r\n", "412", "Content-Length: 0"},
        {"If-Match: \"x\"\r\n", "412", "Content-Length: 0"},
        {"If-Match: *\r\n", "200", "Content-Length: 36"},
        {"If-Range: %s\r\nRange: bytes=1-1\r\n", "206", "bytes 1-1/36"},
        {"If-Range: \"x\"\r\nRange: bytes=1-1\r\n", "200", "Content-Length: 36"},
    };
    struct http_content content;
    http_content_init(&content, "", NULL, http_rig_file, strlen(http_rig_file));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char input[400], fields[200];
        const char *mark = strstr(cases[i].fields, "%s");
        if (mark)
            snprintf(fields, sizeof fields, "%.*s%s%s", (int)(mark - cases[i].fields), cases[i].fields, content.etag,
                     mark + 2);
        else
            strcpy(fields, cases[i].fields);
        snprintf(input, sizeof input, "GET /file HTTP/1.1\r\n" H "%s\r\n", fields);
        expect(input, cases[i].status);
        expect_text(input, cases[i].text);
    }
    expect_text("HEAD /file HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n", "text/plain\r\n\r\nHTTP/1.1 200");
    expect_text("POST /file HTTP/1.1\r\n" H "\r\n", "405 Method Not Allowed");
    http_content_clear(&content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_complete),
        cmocka_unit_test(connections_are_kept_or_not),
        cmocka_unit_test(bodies_are_taken),
        cmocka_unit_test(bodies_are_bounded),
        cmocka_unit_test(chunk_lines_are_bounded),
        cmocka_unit_test(what_is_ambiguous_is_refused),
        cmocka_unit_test(chunks_are_read_strictly),
        cmocka_unit_test(request_lines_are_checked),
        cmocka_unit_test(targets_are_cleaned_or_refused),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(an_answer_cannot_be_split),
        cmocka_unit_test(the_client_is_told_to_go_on_only_if_its_body_is_wanted),
        cmocka_unit_test(gigabytes_need_no_memory),
        cmocka_unit_test(a_slow_reader_gets_everything),
        cmocka_unit_test(a_client_that_goes_cancels_its_request_once),
        cmocka_unit_test(the_server_closing_cancels_too),
        cmocka_unit_test(an_answer_may_come_later_and_pipelined_ones_wait),
        cmocka_unit_test(what_is_sent_ahead_is_bounded),
        cmocka_unit_test(half_a_request_is_no_request),
        cmocka_unit_test(an_answer_to_a_dead_request_ends_its_use),
        cmocka_unit_test(what_is_no_answer_leaves_it_to_be_told),
        cmocka_unit_test(an_answer_that_fails_ends_when_its_handler_ends_it),
        cmocka_unit_test(a_second_answer_cuts_the_connection),
        cmocka_unit_test(who_is_slow_is_sent_away),
        cmocka_unit_test(who_does_not_read_is_sent_away),
        cmocka_unit_test(one_connection_too_many_is_told),
        cmocka_unit_test(an_upgrade_hands_over_the_stream_with_what_came_early),
        cmocka_unit_test(content_is_conditional_and_partial),
    };
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
