/* What is said to a request that the server refuses by itself, before a handler hears of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "http/head.h"
#include "http_rig.h"

#define H "Host: x\r\n"

static unsigned said_status;
static char said_target[300], said_reason[64];

/* An owner who words what is about /mine. */
static char *refuse(unsigned status, const char *reason, const char *target, const char **fields)
{
    said_status = status;
    snprintf(said_target, sizeof said_target, "%s", target);
    snprintf(said_reason, sizeof said_reason, "%s", reason);
    if (strncmp(target, "/mine", 5) != 0)
        return NULL;
    *fields = "Content-Type: text/mine\r\nX-Mine: yes\r\n";
    return mem_strdup("mine");
}

static void talk(const char *input, size_t split, char *output, size_t size)
{
    struct http_server_options options = {.max_connections = 2, .head_timeout_ms = 60000, .refusal = refuse};
    struct http_rig rig;
    http_rig_begin(&rig, &options);
    said_status = 0;
    *said_target = '\0';
    http_rig_talk(&rig, input, strlen(input), split, output, size);
    http_rig_end(&rig);
}

static void its_owner_words_it(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        unsigned status;
        const char *target;
    } rows[] = {
        {"BREW /mine HTTP/1.1\r\n" H "\r\n", 501, "/mine"},
        {"GET /mine?a=b HTTP/1.1\r\n\r\n", 400, "/mine?a=b"},
        {"GET /mine HTTP/3.0\r\n" H "\r\n", 505, "/mine"},
        {"GET /mine/../x HTTP/1.1\r\n" H "\r\n", 400, "/mine/../x"},
        {"GET /mine HTTP/1.1\r\n" H "X : y\r\n\r\n", 400, "/mine"},
        {"GET /mine HTTP/1.1\r\n" H "X\rY\r\n\r\n", 400, "/mine"},
        {"\r\nGET /mine HTTP/1.1\r\n y\r\n\r\n", 400, "/mine"},
        {"POST /mine HTTP/1.1\r\n" H "Content-Length: 9x\r\n\r\n", 400, "/mine"},
    };
    static const size_t splits[] = {0, 1, 7};
    char output[2000];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof splits / sizeof *splits; j++) {
            talk(rows[i].input, splits[j], output, sizeof output);
            assert_int_equal(said_status, rows[i].status);
            assert_string_equal(said_target, rows[i].target);
            assert_non_null(strstr(output, "Content-Type: text/mine\r\nX-Mine: yes\r\n"));
            assert_non_null(strstr(output, "Content-Length: 4\r\n"));
            assert_string_equal(strstr(output, "\r\n\r\n"), "\r\n\r\nmine");
        }
}

static void or_the_server_does(void **state)
{
    (void)state;
    char output[2000];
    talk("BREW /other HTTP/1.1\r\n" H "\r\n", 0, output, sizeof output);
    assert_int_equal(said_status, 501);
    assert_string_equal(said_reason, "Not Implemented");
    assert_non_null(strstr(output, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(output, "\r\n\r\n501 Not Implemented\n"));
    assert_null(strstr(output, "X-Mine"));
}

/* The body of a request that was read already, and is refused for its length. */
static void a_body_that_is_too_long(void **state)
{
    (void)state;
    char output[2000];
    talk("POST /echo HTTP/1.1\r\n" H "Content-Length: 5000\r\n\r\n", 0, output, sizeof output);
    assert_int_equal(said_status, 413);
    assert_string_equal(said_target, "/echo");
    talk("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5000\r\n", 0, output, sizeof output);
    assert_int_equal(said_status, 413);
    assert_string_equal(said_target, "/echo");
}

static void check_target(const char *text, size_t size, const char *wanted)
{
    struct http_head head = {.text = malloc(strlen(text) + 1), .used = (uint32_t)strlen(text)}; /* a byte too far is seen */
    char target[64];
    memcpy(head.text, text, strlen(text));
    http_head_target(&head, target, size);
    assert_string_equal(target, wanted);
    free(head.text);
}

static void the_target_of_whatever_has_come(void **state)
{
    (void)state;
    struct http_head none = {.text = NULL, .used = 7};
    char target[8] = "x";
    http_head_target(&none, target, sizeof target);
    assert_string_equal(target, "");
    check_target("", 64, "");
    check_target("GET", 64, "");
    check_target("GET ", 64, "");
    check_target("GET /a", 64, "/a");
    check_target("GET /a HTTP/1.1\r\nX: y", 64, "/a");
    check_target("GET\r\nHost: /a b", 64, "");
    check_target(" /a ", 64, "/a");
    check_target("GET  /a", 64, "");
    check_target("GET /abcdef HTTP", 4, "/ab");
    check_target("GET /abcdef HTTP", 1, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_owner_words_it),
        cmocka_unit_test(or_the_server_does),
        cmocka_unit_test(a_body_that_is_too_long),
        cmocka_unit_test(the_target_of_whatever_has_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
