/* Which URLs are of an origin: what is the same in another spelling, and what only looks so. */
#include <string.h>

#include "../cmocka_all.h"
#include "remote/origin.h"

static bool covers(const char *text, const char *url)
{
    struct origin origin;
    assert_true(origin_read(&origin, text));
    bool yes = origin_covers(&origin, url);
    origin_clear(&origin);
    return yes;
}

static void spelling_does_not_matter(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"https://h", "https://h:443/b?c"},
        {"https://h/", "HTTPS://H./a"},
        {"http://H.example.:80", "http://h.EXAMPLE/x"},
        {"https://h/prod/", "https://h/prod"},
        {"https://h/prod", "https://h/prod/x.iso"},
        {"https://h/prod", "https://h//prod///x.iso"},
        {"https://h/prod", "https://h/%70rod/x.iso"},
        {"https://h/a%2fb/", "https://h/a%2Fb/x"},
        {"https://h/a%20b/", "https://h/a%20b/x"},
        {"https://h/prod", "https://h/./x/../prod/x.iso"},
        {"https://h/prod", "https://h/%2e/prod/x.iso"},
        {"https://h/a/../prod", "https://h/prod/x.iso"},
        {"https://h/prod", "https://h/prod/100%25.iso"},
        {"https://[2001:DB8:0:0::1]/", "https://[2001:db8::1]:443/x"},
        {"https://[fe80::1%25eth0]/", "https://[FE80:0::1%25eth0]/x"},
        {"smb://nas/images", "cifs://NAS:445/images/x.iso"},
        {"smb://nas/images", "\\\\nas\\images\\x.iso"},
        {"nfs://nas/images", "nas:/images/x.iso"},
        {"sftp://h:22/srv", "sftp://h/srv/x.iso"},
        {"ftps://h:990", "ftps://h/x"},
        {"ftp://h/pub", "ftp://h:21/pub/x"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!covers(same[i][0], same[i][1]))
            fail_msg("%s should cover %s", same[i][0], same[i][1]);
}

static void what_only_looks_like_it(void **state)
{
    (void)state;
    static const char *const other[][2] = {
        {"https://h", "http://h/a"},
        {"https://h", "https://h:444/a"},
        {"http://h:443", "https://h/a"},
        {"https://h", "https://h.evil/a"},
        {"https://h", "https://evil.h/a"},
        {"https://h", "https://h@evil/a"},
        {"https://h", "https://evil/h/a"},
        {"https://h", "https://evil#h/a"},
        {"https://h", "https://evil?h/a"},
        {"https://h", "https://h%2eevil/a"},
        {"https://h", "https:///h/a"},
        {"https://h", "https:/h/a"},
        {"https://h", "https://h../a"},
        {"https://h", "https://evil\\@h/a"},
        {"https://h", "nonsense"},
        {"https://h", "/h/a"},
        {"https://h/prod", "https://h/"},
        {"https://h/prod", "https://h/prod-evil/x"},
        {"https://h/prod", "https://h/prod.evil"},
        {"https://h/prod", "https://h/Prod/x"},
        {"https://h/prod", "https://h/evil/prod/x"},
        {"https://h/prod", "https://h/evil?/prod/"},
        {"https://h/prod", "https://h/prod/../evil"},
        {"https://h/prod", "https://h/prod/..//evil"},
        {"https://h/prod", "https://h/prod/%2e%2E/evil"},
        {"https://h/prod", "https://h/prod/.%2e/evil"},
        {"https://h/prod", "https://h/prod/%252e%252e/evil"},
        {"https://h/prod", "https://h/prod/..%2fevil"},
        {"https://h/prod", "https://h/prod/x%2f..%2f..%2fevil"},
        {"https://h/prod", "https://h/prod/..%5cevil"},
        {"https://h/prod", "https://h/prod/..%255cevil"},
        {"https://h/prod", "https://h/prod/..;/evil"},
        {"https://h/prod", "https://h/prod/..;x=y/evil"},
        {"https://h/prod", "https://h/prod%2fx"},
        {"https://h/prod", "https://h/prod%00/x"},
        {"https://h/prod", "https://h/prod/%00/x"},
        {"https://h/a%2fb", "https://h/a/b/x"},
        {"https://h/a/b", "https://h/a%2fb/x"},
        {"https://[::1]", "https://[::2]/a"},
        {"https://[::1]", "https://[::1%25lo]/a"},
        {"https://127.0.0.1", "https://[::ffff:127.0.0.1]/a"},
        {"smb://nas/images", "smb://nas/images2/x"},
        {"smb://nas/images", "nfs://nas/images/x"},
        {"ftp://h", "ftps://h/x"},
        {"sftp://h", "sftp://h:23/x"},
        {"ftp://h/pub", "ftp://h/%2Fpub/x"},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (covers(other[i][0], other[i][1]))
            fail_msg("%s must not cover %s", other[i][0], other[i][1]);
}

static void a_server_is_an_origin_without_a_path(void **state)
{
    (void)state;
    struct origin origin, none;
    assert_true(origin_read_server(&origin, "https://h:8443/a/b.iso?sig=1"));
    assert_true(origin_covers(&origin, "https://h:8443/c"));
    assert_int_equal(origin_depth(&origin), 0);
    origin_clear(&origin);
    assert_false(origin_covers(&origin, "https://h:8443/c"));
    assert_false(origin_read(&none, "https://u:p@h/"));
    assert_false(origin_covers(&none, "https://h/"));
    assert_true(origin_read(&origin, "https://h//a/./b/"));
    assert_int_equal(origin_depth(&origin), 2);
    origin_clear(&origin);
}

static void what_an_administrator_may_write(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "h", "/srv", "upload:x", "file:///srv", "https://", "https://u@h/", "https://u:p@h/",
                                      "https://h/?x", "https://h/#x", "https://h /", "gopher://h/", "https://h:0/", "https://h/%00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!origin_problem(bad[i]))
            fail_msg("\"%s\" should be no origin", bad[i]);
    assert_null(origin_problem("https://images.example.com:8443/prod/"));
    assert_null(origin_problem("//nas/images"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spelling_does_not_matter),
        cmocka_unit_test(what_only_looks_like_it),
        cmocka_unit_test(a_server_is_an_origin_without_a_path),
        cmocka_unit_test(what_an_administrator_may_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
