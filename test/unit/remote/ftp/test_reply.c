/* An FTP server's replies, as servers and liars write them. */
#include <string.h>

#include "../../cmocka_all.h"
#include "remote/ftp/reply.h"

static struct ftp_reply reply;
static const char *rest;

static enum ftp_fed feed(const char *text)
{
    size_t taken;
    enum ftp_fed fed = ftp_reply_feed(&reply, (const uint8_t *)text, strlen(text), &taken);
    rest = text + taken;
    return fed;
}

static int fresh(void **state)
{
    (void)state;
    ftp_reply_init(&reply);
    return 0;
}

static void a_reply_is_a_line_with_a_code(void **state)
{
    (void)state;
    assert_int_equal(feed("220 Hello\r\n331"), FTP_REPLY);
    assert_int_equal(reply.code, 220);
    assert_string_equal(reply.text, "Hello");
    assert_string_equal(rest, "331");
    assert_int_equal(feed(rest), FTP_MORE);
    assert_int_equal(feed("\n"), FTP_REPLY); /* without a text, without CR */
    assert_int_equal(reply.code, 331);
    assert_string_equal(reply.text, "");
}

static void or_several_lines_up_to_the_same_code(void **state)
{
    (void)state;
    assert_int_equal(feed("211-Features:\r\n SIZE\r\n211-more\r\n220 not yet\r\n211 End\r\nx"), FTP_REPLY);
    assert_int_equal(reply.code, 211);
    assert_string_equal(reply.text, "Features:");
    assert_string_equal(rest, "x");
}

static void in_pieces_of_any_size(void **state)
{
    (void)state;
    const char *text = "230-a\r\nb\r\n230 c\r\n";
    for (size_t i = 0; text[i]; i++) {
        char one[2] = {text[i], '\0'};
        assert_int_equal(feed(one), text[i + 1] ? FTP_MORE : FTP_REPLY);
    }
    assert_int_equal(reply.code, 230);
}

static void anything_else_is_garbage(void **state)
{
    static const char *const bad[] = {"\r\n",     "hello\r\n",     "HTTP/1.1 400 Bad Request\r\n",
                                      "99 x\r\n", "600 x\r\n",     "2200\r\n",
                                      "22\r\n",   "SSH-2.0-x\r\n", "-20 x\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fresh(state);
        assert_int_equal(feed(bad[i]), FTP_GARBAGE);
    }
}

static void a_reply_without_an_end_is_garbage(void **state)
{
    (void)state;
    size_t fed = 0;
    assert_int_equal(feed("220-"), FTP_MORE);
    enum ftp_fed last;
    while ((last = feed("0123456789abcdef")) == FTP_MORE)
        assert_true((fed += 16) <= FTP_REPLY_MAX);
    assert_int_equal(last, FTP_GARBAGE);
}

static void a_long_line_is_cut(void **state)
{
    (void)state;
    char line[3 * FTP_LINE_MAX];
    memset(line, 'x', sizeof line);
    memcpy(line, "220 ", 4);
    memcpy(line + sizeof line - 2, "\n", 2);
    assert_int_equal(feed(line), FTP_REPLY);
    assert_true(strlen(reply.text) < FTP_LINE_MAX);
}

static void sizes(void **state)
{
    (void)state;
    uint64_t size;
    assert_true(ftp_parse_size("4096", &size) && size == 4096);
    assert_true(ftp_parse_size(" 9223372036854775807 ", &size) && size == INT64_MAX);
    static const char *const bad[] = {
        "", "x", "-1", "12x", "1 2", "9223372036854775808", "99999999999999999999999", "0x10", "1e3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ftp_parse_size(bad[i], &size));
}

static void times(void **state)
{
    (void)state;
    char time[32];
    assert_true(ftp_parse_time("20240102030405", time, sizeof time));
    assert_string_equal(time, "20240102030405");
    assert_true(ftp_parse_time("20240102030405.678", time, sizeof time));
    assert_string_equal(time, "20240102030405.678");
    static const char *const bad[] = {
        "", "2024", "20240102030405x", "20240102030405 x", "today", "20240102030405.11111111111111111111111111111"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ftp_parse_time(bad[i], time, sizeof time));
}

static void ports(void **state)
{
    (void)state;
    uint16_t port;
    assert_true(ftp_parse_epsv("Entering Extended Passive Mode (|||6446|)", &port) && port == 6446);
    assert_true(ftp_parse_epsv("ok (!!!1!) bye", &port) && port == 1);
    static const char *const bad[] = {
        "", "(|||0|)", "(|||65536|)", "(||1|)", "(|||1)", "(|||1|", "(|1|192.0.2.1|80|)", "(||||)", "(1111)", "("};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ftp_parse_epsv(bad[i], &port));
    assert_true(ftp_parse_pasv("Entering Passive Mode (127,0,0,1,4,1).", &port) && port == 1025);
    assert_true(ftp_parse_pasv("=10,0,0,1,0,21", &port) && port == 21);
    static const char *const worse[] = {
        "", "Passive", "(127,0,0,1,0,0)", "(127,0,0,1,256,1)", "(127,0,0,1,4)", "(127.0.0.1,4,1)", "(1,2,3,4,5,"};
    for (size_t i = 0; i < sizeof worse / sizeof *worse; i++)
        assert_false(ftp_parse_pasv(worse[i], &port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_reply_is_a_line_with_a_code, fresh),
        cmocka_unit_test_setup(or_several_lines_up_to_the_same_code, fresh),
        cmocka_unit_test_setup(in_pieces_of_any_size, fresh),
        cmocka_unit_test(anything_else_is_garbage),
        cmocka_unit_test_setup(a_reply_without_an_end_is_garbage, fresh),
        cmocka_unit_test_setup(a_long_line_is_cut, fresh),
        cmocka_unit_test(sizes),
        cmocka_unit_test(times),
        cmocka_unit_test(ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
