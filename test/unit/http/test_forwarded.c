/* For whom a proxy asks: the address that our proxies vouch for, whatever a client wrote before them. */
#include <string.h>

#include "../cmocka_all.h"
#include "http/forwarded.h"

static struct address_prefixes trusted;

static int setup(void **state)
{
    (void)state;
    return address_prefixes_parse(&trusted, "192.0.2.1, 10.0.0.0/8\t2001:db8:a::/48") ? 0 : -1;
}

static void expect(const char *forwarded, const char *x_forwarded_for, const char *wanted)
{
    char client[ADDRESS_TEXT_MAX] = "nobody";
    bool said = forwarded_client(forwarded, x_forwarded_for, &trusted, client);
    if (said != (wanted != NULL) || (wanted && strcmp(client, wanted) != 0))
        fail_msg("\"%s\" \"%s\" -> %s %s", forwarded ? forwarded : "", x_forwarded_for ? x_forwarded_for : "",
                 said ? "said" : "not said", client);
}

static void the_right_most_that_is_no_proxy(void **state)
{
    (void)state;
    expect(NULL, "203.0.113.9", "203.0.113.9");
    expect(NULL, "198.51.100.7, 203.0.113.9", "203.0.113.9");
    expect(NULL, "198.51.100.7, 203.0.113.9, 10.1.2.3,192.0.2.1", "203.0.113.9");
    expect(NULL, "10.1.2.3, 10.1.2.4", "10.1.2.3");
    expect(NULL, "203.0.113.9:4711", "203.0.113.9");
    expect(NULL, "::ffff:203.0.113.9", "203.0.113.9");
    expect(NULL, "198.51.100.7, ::ffff:10.9.9.9", "198.51.100.7");
    expect(NULL, "2001:DB8::0:1", "2001:db8::1");
    expect(NULL, "[2001:db8::1]:80", "2001:db8::1");
    expect(NULL, "2001:db8::1, 2001:db8:a:b::9", "2001:db8::1");
    expect(NULL, "2001:db8::1, 2001:db8:b::9", "2001:db8:b::9");
    expect("for=203.0.113.9", NULL, "203.0.113.9");
    expect("FOR=\"203.0.113.9:80\";proto=https;by=_x", NULL, "203.0.113.9");
    expect("for=198.51.100.7, for=203.0.113.9;by=10.0.0.1,for=10.0.0.1", NULL, "203.0.113.9");
    expect("for=\"[2001:db8::1]:80\" ; host=\"a, b;\\\"\"", NULL, "2001:db8::1");
    expect("for=203.0.113.9", "203.0.113.9", "203.0.113.9");
    expect("", "203.0.113.9", "203.0.113.9");
}

static void expect_host(const char *forwarded, const char *x_forwarded_host, const char *wanted)
{
    char host[FORWARDED_HOST_MAX];
    assert_int_equal(forwarded_host(forwarded, x_forwarded_host, host), *wanted != '\0');
    assert_string_equal(host, wanted);
}

static void the_host_that_the_browser_asked_for(void **state)
{
    (void)state;
    char long_host[2 * FORWARDED_HOST_MAX];
    memset(long_host, 'a', sizeof long_host);
    long_host[sizeof long_host - 1] = '\0';
    expect_host("for=203.0.113.9;host=\"bmc.example:8443\";proto=https, for=10.0.0.1;host=inside", NULL, "bmc.example:8443");
    expect_host("for=203.0.113.9, for=10.0.0.1;Host=bmc.example", "other", "bmc.example");
    expect_host("for=203.0.113.9", " bmc.example:8443 , inside", "bmc.example:8443");
    expect_host("nonsense", "bmc.example", "bmc.example");
    expect_host(NULL, "bmc.example", "bmc.example");
    expect_host(NULL, long_host, "");
    expect_host(NULL, "", "");
    expect_host("for=203.0.113.9", NULL, "");
    expect_host(NULL, NULL, "");
}

/* Then the proxy itself is who asks. */
static void what_says_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"", " ", ",", "203.0.113.9,", ",203.0.113.9", "nonsense", "203.0.113", "203.0.113.9 x",
                                      "203.0.113.9:x", "203.0.113.9:99999", "[203.0.113.9]", "[2001:db8::1", "2001:db8::1]",
                                      "[2001:db8::1]x", "fe80::1%eth0", "0x7f.1", "203.0.113.9, unknown", "203.0.113.9, _x",
                                      "203.0.113.9;203.0.113.8", "localhost", "\"203.0.113.9\""};
    static const char *const bad_forwarded[] = {"203.0.113.9", "for", "for=", "for=203.0.113.9:80", "for=[2001:db8::1]",
                                                "for=2001:db8::1", "for=\"203.0.113.9", "for=203.0.113.9,", "for=203.0.113.9;",
                                                "for=203.0.113.9;for=198.51.100.7", "proto=https", "for=203.0.113.9, proto=https",
                                                "for=unknown", "for=_hidden", "for=\"_hidden\"", "for=203.0.113.9 for=10.0.0.1",
                                                ",for=203.0.113.9", "for = 203.0.113.9", "for=\"203.0.113.9\\"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(NULL, bad[i], NULL);
    for (size_t i = 0; i < sizeof bad_forwarded / sizeof *bad_forwarded; i++)
        expect(bad_forwarded[i], NULL, NULL);
    expect(NULL, NULL, NULL);
    expect("for=203.0.113.9", "198.51.100.7", NULL); /* one of them a client wrote */
    expect("for=203.0.113.9", "nonsense", NULL);
    expect(NULL, "unknown, 203.0.113.9", "203.0.113.9"); /* left of it anybody may say anything that has the form */
}

static void it_is_bounded(void **state)
{
    (void)state;
    char list[16 * (FORWARDED_HOPS_MAX + 1)] = "203.0.113.9";
    for (int i = 1; i < FORWARDED_HOPS_MAX; i++)
        strcat(list, ",203.0.113.8");
    expect(NULL, list, "203.0.113.8");
    strcat(list, ",203.0.113.8");
    expect(NULL, list, NULL);
}

static void prefixes(void **state)
{
    (void)state;
    static const char *const bad[] = {"x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "2001:db8::/129", "[2001:db8::1]", "10.0.0.1:80",
                                      "/8", "fe80::1%eth0"};
    struct address_prefixes list;
    struct sockaddr_storage address;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(address_prefixes_parse(&list, bad[i]));
    assert_true(address_prefixes_parse(&list, "") && list.count == 0);
    assert_true(address_prefixes_parse(&list, "192.0.2.128/25 2001:db8::1"));
    assert_true(address_parse("192.0.2.200", &address) && address_prefixes_have(&list, (struct sockaddr *)&address));
    assert_true(address_parse("::ffff:192.0.2.200", &address) && address_prefixes_have(&list, (struct sockaddr *)&address));
    assert_true(address_parse("192.0.2.127", &address) && !address_prefixes_have(&list, (struct sockaddr *)&address));
    assert_true(address_parse("2001:db8::1", &address) && address_prefixes_have(&list, (struct sockaddr *)&address));
    assert_true(address_parse("2002:c000:2c8::", &address) && !address_prefixes_have(&list, (struct sockaddr *)&address)); /* 6to4 of it */
    assert_true(address_parse("::192.0.2.200", &address) && !address_prefixes_have(&list, (struct sockaddr *)&address));
    char many[12 * (ADDRESS_PREFIXES_MAX + 1)] = "";
    for (int i = 0; i <= ADDRESS_PREFIXES_MAX; i++)
        strcat(many, "10.0.0.1 ");
    assert_false(address_prefixes_parse(&list, many));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_that_the_browser_asked_for),
        cmocka_unit_test(the_right_most_that_is_no_proxy),
        cmocka_unit_test(what_says_nothing),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(prefixes),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
