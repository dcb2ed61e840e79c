/* Which paths FTP and SFTP are asked for, and where their URLs lead to. */
#include <string.h>

#include "../cmocka_all.h"
#include "remote/place.h"

static char error[256];

static void paths_are_one_line_that_names_a_file(void **state)
{
    (void)state;
    static const char *const good[] = {
        "ftp://h/x.iso",  "ftps://[::1]:990/a/b%20c.iso", "ftp://h/%2Fabs/x",  "ftp://h/a;b",
        "ftp://h/100%25", "ftp://h/B%C3%BCcher.iso",      "sftp://h/x;type=a", "sftp://h/~/x",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(place_check(good[i], error, sizeof error));
    static const char *const bad[] = {
        "ftp://h",
        "ftp://h/",
        "ftp://h/dir/",
        "ftp://h/x%0d%0aDELE%20y",
        "ftp://h/x%0aDELE%20y",
        "ftp://h/x%0d",
        "ftp://h/x%00",
        "ftp://h/x%7f",
        "ftp://h/x%ff",
        "ftp://h/x;type=a",
        "ftp://h/x;TYPE=i",
        "ftp://h/x?y",
        "ftp://h/x%3Btype=a",
        "ftp://h/x#y",
        "ftps://h/x%09",
        "sftp://h/x%00y",
        "sftp://h/x%0ay",
        "sftp://h/",
        "sftp://h/~/",
        "sftp://h/x?y",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        *error = '\0';
        assert_false(place_check(bad[i], error, sizeof error));
        assert_true(strlen(error) > 10);
    }
}

static void where_urls_lead_to(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *path;
        unsigned port;
    } rows[] = {
        {"ftp://h/a/b", "h", "a/b", 21},
        {"ftp://h/%2Fa%20b", "h", "/a b", 21},
        {"ftps://192.0.2.1/x", "192.0.2.1", "x", 990},
        {"ftp://[2001:db8::1]:2121/x", "2001:db8::1", "x", 2121},
        {"ftp://[fe80::1%25eth0]/x", "fe80::1%eth0", "x", 21},
        {"sftp://h/a/b", "h", "/a/b", 22},
        {"sftp://h:2222/~/b", "h", "b", 2222},
        {"sftp://h/~b", "h", "/~b", 22},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct place place;
        assert_true(place_read(&place, rows[i].url));
        assert_string_equal(place.host, rows[i].host);
        assert_string_equal(place.path, rows[i].path);
        assert_int_equal(place.port, rows[i].port);
        place_clear(&place);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_one_line_that_names_a_file),
        cmocka_unit_test(where_urls_lead_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
