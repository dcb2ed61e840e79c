/* URLs of images on SMB shares, and how a user's name may be written. */
#include <string.h>

#include "../../cmocka_all.h"
#include "base/text.h"
#include "remote/smb/url.h"

static void is(const char *text, const char *host, unsigned port, const char *share, const char *path)
{
    struct smb_url url;
    assert_null(smb_url_parse(text, &url));
    assert_string_equal(url.host, host);
    assert_int_equal(url.port, port);
    assert_string_equal(url.share, share);
    assert_string_equal(url.path, path);
    smb_url_clear(&url);
}

static void right_ones_are_read(void **state)
{
    (void)state;
    is("smb://nas/images/x.iso", "nas", 445, "images", "x.iso");
    is("SMB://NAS:4450/images/a/b/x.iso", "NAS", 4450, "images", "a/b/x.iso");
    is("smb://[2001:db8::1]/s/x", "2001:db8::1", 445, "s", "x");
    is("smb://[fe80::1%25eth0]:445/s/x", "fe80::1%eth0", 445, "s", "x");
    is("smb://192.0.2.1:/s%24/a%20b/%C3%BC%23%3F%25.iso", "192.0.2.1", 445, "s$", "a b/ü#?%.iso");
}

static void wrong_ones_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "smb:",
        "smb://",
        "smb:///s/x",
        "smb://h",
        "smb://h/",
        "smb://h/s",
        "smb://h/s/",
        "smb://h//x",
        "http://h/s/x",
        "smb://u@h/s/x",
        "smb://u:p@h/s/x",
        "smb://h:0/s/x",
        "smb://h:65536/s/x",
        "smb://h:x/s/x",
        "smb://[::1/s/x",
        "smb://[::1]x/s/x",
        "smb://h/s/x?y",
        "smb://h/s/x#y",
        "smb://h/s/%",
        "smb://h/s/%1",
        "smb://h/s/%zz",
        "smb://h/s/%00",
        "smb://h/s/a%5Cb",
        "smb://h/s/a\\b",
        "smb://h/s/%ff",
        "smb://h/s/%0a",
        "smb://h/s%2Ft/x",
        "smb://h/s/./x",
        "smb://h/s/../x",
        "smb://h/s/a/..",
        "smb://h/s/a//b",
        "smb://h/s/%2e%2e/x",
        "smb://a b/s/x",
        "smb://a%20b/s/x",
        "smb://a%40b/s/x",
        "smb://[::1%25eth0%40b]/s/x",
        "smb://a%3Fb/s/x",
        "smb://a%23b/s/x",
    };
    struct smb_url url;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *why = smb_url_parse(wrong[i], &url);
        if (!why)
            fail_msg("%s was taken", wrong[i]);
        assert_null(url.host);
        assert_null(url.path);
    }
}

static void a_server_is_named_in_a_share(const char *host, const char *name)
{
    char *server = smb_url_server(host);
    assert_string_equal(server, name);
    mem_free(server);
}

static void servers_are_named_as_windows_does(void **state)
{
    (void)state;
    a_server_is_named_in_a_share("nas.example", "nas.example");
    a_server_is_named_in_a_share("192.0.2.1", "192.0.2.1");
    a_server_is_named_in_a_share("fe80::1%4", "fe80--1s4.ipv6-literal.net");
}

static void user_is(const char *text, const char *name, const char *domain)
{
    struct smb_user user;
    smb_user_parse(text, &user);
    assert_string_equal(user.name, name);
    if (domain)
        assert_string_equal(user.domain, domain);
    else
        assert_null(user.domain);
    smb_user_clear(&user);
}

static void a_user_may_have_a_domain(void **state)
{
    (void)state;
    user_is("reader", "reader", NULL);
    user_is("BMC\\reader", "reader", "BMC");
    user_is("BMC/reader", "reader", "BMC");
    user_is("reader@bmc.example", "reader", "bmc.example");
    user_is("MicrosoftAccount\\me@mail.example", "me@mail.example", "MicrosoftAccount");
    user_is("me@mail@bmc", "me@mail", "bmc");
    user_is("\\reader", "reader", NULL);
    user_is("", "", NULL);
    user_is(NULL, "", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_ones_are_read),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(servers_are_named_as_windows_does),
        cmocka_unit_test(a_user_may_have_a_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
