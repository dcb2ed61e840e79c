/* What may be written for an image on another machine, and the URL that it means. */
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "remote/image_location.h"

static char error[LOCATION_ERROR_MAX];

static void expect_url(const char *text, enum location_kind kind, const char *url)
{
    assert_int_equal(location_kind(text), kind);
    char *got = location_url(text, error);
    if (!got)
        fail_msg("%s: %s", text, error);
    assert_string_equal(got, url);
    mem_free(got);
}

static void urls_stay_as_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum location_kind kind;
    } good[] = {
        {"https://h/x.iso?a=b", LOCATION_HTTPS},
        {"http://[::1]:8080/x", LOCATION_HTTP},
        {"https://h/a@b?c@d#e@f", LOCATION_HTTPS},
        {"https://xn--bcher-kva.example/B\u00fccher.iso", LOCATION_HTTPS},
        {"https://[fe80::1%25eth0]/%ff", LOCATION_HTTPS},
        {"https://h?@evil/", LOCATION_HTTPS}, /* the host is h */
        {"ftp://h:2121/pub/x.iso", LOCATION_FTP},
        {"ftps://h/x", LOCATION_FTPS},
        {"sftp://h/srv/x%20y.iso", LOCATION_SFTP},
        {"nfs://h/export/x.iso?version=3", LOCATION_NFS},
        {"smb://h/share/x.iso", LOCATION_SMB},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        expect_url(good[i].url, good[i].kind, good[i].url);
    expect_url("HTTPS://h/X", LOCATION_HTTPS, "https://h/X");
    expect_url("Cifs://h/share/x.iso", LOCATION_SMB, "smb://h/share/x.iso");
}

static void other_spellings_become_urls(void **state)
{
    (void)state;
    expect_url("h:/export/x.iso", LOCATION_NFS, "nfs://h/export/x.iso");
    expect_url("192.0.2.1:/a b/100%?#.iso", LOCATION_NFS, "nfs://192.0.2.1/a%20b/100%25%3F%23.iso");
    expect_url("[2001:db8::1]:/x", LOCATION_NFS, "nfs://[2001:db8::1]/x");
    expect_url("h:/dir\\x", LOCATION_NFS, "nfs://h/dir%5Cx"); /* no separator there */
    expect_url("//h/share/x.iso", LOCATION_SMB, "smb://h/share/x.iso");
    expect_url("\\\\h\\share\\dir\\x y.iso", LOCATION_SMB, "smb://h/share/dir/x%20y.iso");
    expect_url("//[2001:db8::1]/share/\u00fc.iso", LOCATION_SMB, "smb://[2001:db8::1]/share/%C3%BC.iso");
}

static void what_is_here_has_no_protocol(void **state)
{
    (void)state;
    static const char *const here[] = {"/srv/x.iso", "/", "file:///x", "FILE:x", "file:/x", "upload:x", "upload:/x"};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        enum location_kind kind = location_kind(here[i]);
        assert_int_equal(kind, i < 5 ? LOCATION_PATH : LOCATION_UPLOAD);
        assert_string_equal(location_name(kind), "");
        assert_null(location_url(here[i], error));
    }
    assert_string_equal(location_name(LOCATION_SMB), "smb");
    assert_string_equal(location_name(LOCATION_UNKNOWN), "");
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "h/x", ":", ":/x", "gopher://h/x", "dict://h:1/x", "javascript:x", "h:x", "a b:/x", "h://x", "[::1:/x", "[]x:/y",
        "https://", "https:///x", "https:/h/x", "https:h/x", "http:/h", "nfs:/h/x", "smb:/h", "https:/h/x://evil/",
        "https:///h/x://evil/", "nfs://", "nfs:///x", "smb:///share", "//", "///x", "\\\\", "\\\\\\x", "//?/x",
        "https://u@h/x", "https://u:p@h/x", "https://:p@h/x", "https://@h/x", "https://:@h/x", "ftp://u:p@h/x",
        "sftp://u@h/x", "nfs://u@h/x", "smb://u@h/s/x", "cifs://D;u:p@h/s/x", "//u:p@h/share/x", "\\\\u@h\\share\\x",
        "https://h/a b", "https://h/a\r\nHost: x", "https://h\\@evil/", "https://h/\x7f", "ftp://h/a\nDELE b",
        "h:/a\nb", "//h/share\tx/y", "\\\\h\\a\x01", "https://h/\x1f",
        "https://l\u043ecalhost/x", "https://127\u30020\u30020\u30021/x", "https://h%2e/x", "https://h%00.evil/x",
        "//l\u043ecalhost/s/x", "smb://h%2e/s", "nfs://h%00/x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        *error = '\0';
        char *url = location_url(bad[i], error);
        if (url)
            fail_msg("%s became %s", bad[i], url);
        assert_true(strlen(error) > 10);
    }
}

static void a_long_one_is_refused_before_it_grows(void **state)
{
    (void)state;
    static const char *const begin[] = {"https://h/", "//h/s/", "h:/"};
    char *longest = malloc(LOCATION_URL_MAX + 1);
    for (size_t i = 0; i < sizeof begin / sizeof *begin; i++) {
        memset(longest, '%', LOCATION_URL_MAX);
        memcpy(longest, begin[i], strlen(begin[i]));
        longest[LOCATION_URL_MAX] = '\0';
        assert_null(location_url(longest, error));
        longest[LOCATION_URL_MAX - 1] = '\0'; /* as a URL it would be longer */
        char *url = location_url(longest, error);
        assert_true(i == 0 ? url != NULL : url == NULL);
        mem_free(url);
    }
    free(longest);
}

static void users_are_seen_in_every_spelling(void **state)
{
    (void)state;
    static const char *const with[] = {"https://u@h/", "https://@h", "smb://u:p@h/s", "//u@h/s", "\\\\u@h\\s"};
    static const char *const without[] = {"https://h/@", "h:/x@y", "//h/s@t", "\\\\h\\s@t", "/a@b", "https://h?@"};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        assert_true(location_has_user(with[i]));
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        assert_false(location_has_user(without[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_stay_as_they_are),
        cmocka_unit_test(other_spellings_become_urls),
        cmocka_unit_test(what_is_here_has_no_protocol),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_long_one_is_refused_before_it_grows),
        cmocka_unit_test(users_are_seen_in_every_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
