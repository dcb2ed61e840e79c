/* What an address means: this machine, a neighbour, many, or another machine. */
#include <arpa/inet.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "../cmocka_all.h"
#include "net/address.h"

static struct sockaddr_storage parsed(const char *text)
{
    struct sockaddr_storage address;
    if (!address_parse(text, &address))
        fail_msg("%s is no address", text);
    return address;
}

static enum address_kind kind(const char *text, const struct address_list *own)
{
    struct sockaddr_storage address = parsed(text);
    return address_kind((struct sockaddr *)&address, own);
}

static void every_kind_in_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum address_kind kind;
    } table[] = {
        {"127.0.0.1", ADDRESS_OWN},
        {"127.255.255.254", ADDRESS_OWN},
        {"126.255.255.255", ADDRESS_REMOTE},
        {"128.0.0.1", ADDRESS_REMOTE},
        {"0.0.0.0", ADDRESS_OWN},
        {"0.1.2.3", ADDRESS_OWN},
        {"1.0.0.0", ADDRESS_REMOTE},
        {"169.254.0.1", ADDRESS_LINK},
        {"169.254.169.254", ADDRESS_LINK},
        {"169.253.255.255", ADDRESS_REMOTE},
        {"169.255.0.0", ADDRESS_REMOTE},
        {"10.0.0.1", ADDRESS_REMOTE},
        {"172.16.0.1", ADDRESS_REMOTE},
        {"192.168.1.1", ADDRESS_REMOTE},
        {"192.0.2.1", ADDRESS_REMOTE},
        {"223.255.255.255", ADDRESS_REMOTE},
        {"224.0.0.1", ADDRESS_MANY},
        {"239.255.255.255", ADDRESS_MANY},
        {"240.0.0.1", ADDRESS_REMOTE},
        {"255.255.255.254", ADDRESS_REMOTE},
        {"255.255.255.255", ADDRESS_MANY},
        {"::", ADDRESS_OWN},
        {"::1", ADDRESS_OWN},
        {"::127.0.0.1", ADDRESS_OWN},
        {"::169.254.1.1", ADDRESS_LINK},
        {"::192.0.2.1", ADDRESS_REMOTE},
        {"::ffff:127.0.0.1", ADDRESS_OWN},
        {"::ffff:7f00:1", ADDRESS_OWN},
        {"::ffff:0.0.0.0", ADDRESS_OWN},
        {"::ffff:169.254.169.254", ADDRESS_LINK},
        {"::ffff:224.0.0.1", ADDRESS_MANY},
        {"::ffff:192.0.2.1", ADDRESS_REMOTE},
        {"::ffff:0:127.0.0.1", ADDRESS_OWN},
        {"64:ff9b::127.0.0.1", ADDRESS_OWN},
        {"64:ff9b::a9fe:1", ADDRESS_LINK},
        {"64:ff9b::255.255.255.255", ADDRESS_MANY},
        {"64:ff9b::8.8.8.8", ADDRESS_REMOTE},
        {"64:ff9c::127.0.0.1", ADDRESS_REMOTE},
        {"64:ff9b:1::127.0.0.1", ADDRESS_TRANSLATED},
        {"64:ff9b:1:7f00:0:100::", ADDRESS_TRANSLATED},
        {"64:ff9b:1:ffff:ffff:ffff:8.8.8.8", ADDRESS_TRANSLATED},
        {"64:ff9b:2::127.0.0.1", ADDRESS_REMOTE},
        {"2002:7f00:1::", ADDRESS_OWN},
        {"2002:7f00:1:1:2:3:4:5", ADDRESS_OWN},
        {"2002:a9fe:a9fe::1", ADDRESS_LINK},
        {"2002:c000:201::1", ADDRESS_REMOTE},
        {"fe80::1", ADDRESS_LINK},
        {"febf:ffff::1", ADDRESS_LINK},
        {"fe7f::1", ADDRESS_REMOTE},
        {"fec0::1", ADDRESS_REMOTE},
        {"fd00::1", ADDRESS_REMOTE},
        {"ff02::1", ADDRESS_MANY},
        {"ff0e::1", ADDRESS_MANY},
        {"2001:db8::1", ADDRESS_REMOTE},
        {"2001:db8::127.0.0.1", ADDRESS_REMOTE},
    };
    static const struct address_list none;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (kind(table[i].text, &none) != table[i].kind)
            fail_msg("%s", table[i].text);
}

static void the_machines_own_are_known_in_every_form(void **state)
{
    (void)state;
    static const char *const mine[] = {"192.0.2.7",          "::ffff:192.0.2.7",  "::192.0.2.7", "::ffff:0:192.0.2.7",
                                       "64:ff9b::192.0.2.7", "2002:c000:207::99", "2001:db8::7", "fe80::7"};
    static const char *const others[] = {"192.0.2.8", "::ffff:192.0.2.6", "64:ff9b::192.0.2.8", "2001:db8::8"};
    struct in6_addr items[3];
    struct address_list own = {items, 3};
    inet_pton(AF_INET6, "::ffff:192.0.2.7", &items[0]);
    inet_pton(AF_INET6, "2001:db8::7", &items[1]);
    inet_pton(AF_INET6, "fe80::7", &items[2]);
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        if (kind(mine[i], &own) != ADDRESS_OWN)
            fail_msg("%s", mine[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (kind(others[i], &own) != ADDRESS_REMOTE)
            fail_msg("%s", others[i]);
    assert_int_equal(kind("fe80::8", &own), ADDRESS_LINK);
}

static void what_is_no_internet_address_is_here(void **state)
{
    (void)state;
    static const struct address_list none;
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/x"};
    char text[ADDRESS_TEXT_MAX];
    assert_int_equal(address_kind((struct sockaddr *)&local, &none), ADDRESS_OWN);
    address_text((struct sockaddr *)&local, text);
    assert_string_equal(text, "?");
}

static void interfaces_are_read(void **state)
{
    (void)state;
    struct address_list list = {0};
    struct in6_addr loopback;
    bool found = false;
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &loopback);
    for (int i = 0; i < 2; i++)
        assert_int_equal(address_list_read(&list), 0);
    for (unsigned i = 0; i < list.count; i++)
        found |= memcmp(&list.items[i], &loopback, sizeof loopback) == 0;
    assert_true(found);
    address_list_clear(&list);
    assert_int_equal(list.count, 0);
}

static void texts_go_there_and_back(void **state)
{
    (void)state;
    static const char *const good[] = {"192.0.2.1", "::1", "2001:db8::1", "::ffff:127.0.0.1"};
    static const char *const bad[] = {"", "localhost", "127.1", "0x7f.0.0.1", "127.0.0.1:80", "[::1]", "fe80::1%lo", "/run/x"};
    char text[ADDRESS_TEXT_MAX];
    struct sockaddr_storage address;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        address = parsed(good[i]);
        address_text((struct sockaddr *)&address, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(address_parse(bad[i], &address));
}

/* AnyIP, in a network of our own, where that can be had. */
static void what_a_route_takes_for_local_is_this_machine(void **state)
{
    (void)state;
    static const char setup[] = "ip link set lo up && ip route add local 198.51.100.0/24 dev lo && "
                                "ip -6 route add local 2001:db8:5::/48 dev lo";
    const struct address_list none = {0};
    char refusal[ADDRESS_REFUSAL_MAX];
    if (unshare(CLONE_NEWNET) != 0 || system(setup) != 0)
        skip();
    static const struct {
        const char *text;
        bool admitted;
    } table[] = {{"198.51.100.7", false},          {"::ffff:198.51.100.7", false}, {"64:ff9b::198.51.100.7", false},
                 {"2001:db8:5::7", false},         {"203.0.113.1", true},          {"2001:db8:6::7", true},
                 {"64:ff9b:1::203.0.113.1", false}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct sockaddr_storage address = parsed(table[i].text);
        if (address_admitted((struct sockaddr *)&address, &none, ADDRESS_LOCAL_LINK, refusal) != table[i].admitted)
            fail_msg("%s", table[i].text);
        assert_true(address_admitted((struct sockaddr *)&address, &none, ADDRESS_LOCAL_ALL, refusal));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_in_every_form),
        cmocka_unit_test(the_machines_own_are_known_in_every_form),
        cmocka_unit_test(what_is_no_internet_address_is_here),
        cmocka_unit_test(interfaces_are_read),
        cmocka_unit_test(texts_go_there_and_back),
        cmocka_unit_test(what_a_route_takes_for_local_is_this_machine), /* the last: it leaves our network */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
