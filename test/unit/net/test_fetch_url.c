/* Which URLs may be fetched, when two have one origin, and whom a transfer trusts. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "net/fetch.h"
#include "net/trust.h"

static void only_plain_http_urls_pass(void **state)
{
    (void)state;
    char error[FETCH_ERROR_MAX];
    assert_true(fetch_check_url("https://h/x.iso?a=b", false, error));
    assert_true(fetch_check_url("http://[::1]:8080/x", true, error));
    assert_true(fetch_check_url("HTTPS://h/x", false, error));
    assert_true(fetch_check_url("https://h/a@b?c@d#e@f", false, error));
    assert_true(fetch_check_url("https://xn--bcher-kva.example/B\u00fccher.iso", false, error));
    assert_true(fetch_check_url("https://[fe80::1%25eth0]/%ff", false, error));
    assert_true(fetch_check_url("https://h?@evil/", false, error)); /* the host is h */
    static const char *const bad[] = {
        "",           "h/x",          "http://h/x",     "ftp://h/x",        "file:///etc/passwd", "gopher://h/x",
        "https://",   "https:///x",   "https://u@h/x",  "https://u:p@h/x",  "https://:p@h/x", "https://@h/x", "https://:@h/x",     "https://h/a b",
        "https://h/a\r\nHost: x", "https://h\\@evil/", "https://h/\x7f", "dict://h:1/x", "smb://h/x", "javascript:x",
        "https:/h/x", "https:h/x", "https://l\u043ecalhost/x", "https://127\u30020\u30020\u30021/x", "https://h%2e/x", "https://h%00.evil/x", "https:/h/x://evil/", "https:///h/x://evil/",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        *error = '\0';
        assert_false(fetch_check_url(bad[i], false, error));
        assert_true(strlen(error) > 10);
    }
    char *longest = malloc(FETCH_URL_MAX + 1);
    memset(longest, 'a', FETCH_URL_MAX);
    memcpy(longest, "https://h/", 10);
    longest[FETCH_URL_MAX] = '\0';
    assert_false(fetch_check_url(longest, false, error));
    free(longest);
}

static void origins_are_compared_whole(void **state)
{
    (void)state;
    assert_true(fetch_same_origin("https://h/a", "https://h:443/b?c"));
    assert_false(fetch_same_origin("https://h/a", "http://h/a"));
    assert_false(fetch_same_origin("https://h/a", "https://h:444/a"));
    assert_false(fetch_same_origin("https://h/a", "https://h.evil/a"));
    assert_false(fetch_same_origin("https://h/a", "nonsense"));
}

static void whom_a_transfer_trusts(void **state)
{
    (void)state;
    char path[] = "/tmp/test_trust_XXXXXX";
    struct trust trust;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "FILE", 4), 4);
    close(fd);
    trust_init(&trust, "", NULL);
    assert_null(trust.file);
    assert_null(trust.text);
    trust_init(&trust, path, "");
    assert_string_equal(trust.file, path);
    assert_null(trust.text); /* libcurl reads it */
    trust_clear(&trust);
    trust_init(&trust, path, "MORE");
    assert_string_equal(trust.text, "FILE\nMORE");
    trust_clear(&trust);
    unlink(path);
    trust_init(&trust, path, "MORE");
    assert_string_equal(trust.text, "\nMORE"); /* nobody else, rather than everybody */
    trust_clear(&trust);
    trust_init(&trust, NULL, "MORE"); /* beside the system's, which ends wherever it ends */
    assert_null(trust.file);
    assert_string_equal(trust.text + strlen(trust.text) - 5, "\nMORE");
    trust_clear(&trust);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_plain_http_urls_pass),
        cmocka_unit_test(origins_are_compared_whole),
        cmocka_unit_test(whom_a_transfer_trusts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
