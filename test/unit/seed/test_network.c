/* Network data as kernel arguments and as files. */
#include <string.h>

#include "../cmocka_all.h"
#include "seed/network.h"

static struct seed_network network;
static char error[SEED_ERROR_MAX], out[SEED_ARGUMENTS_MAX];

static const char plain[] = "{\"address\": \"192.0.2.7\", \"netmask\": \"255.255.255.0\", \"gateway\": \"192.0.2.1\", "
                            "\"interface\": \"eno1\", \"dns\": \"192.0.2.53, 192.0.2.54\"}";
static const char vlan[] = "{\"prov\": {\"address\": \"192.0.2.7\", \"netmask\": 24, \"interface\": \"eno1\", \"vlan\": \"12\", "
                           "\"dns\": [\"192.0.2.53\"]}}";

static const char *arguments(const char *text, const char *kind)
{
    assert_true(seed_network_parse(text, &network, error));
    assert_true(seed_network_arguments(&network, kind, out, error));
    return out;
}

static void test_arguments(void **state)
{
    (void)state;
    assert_string_equal(arguments(plain, NULL), "ip=192.0.2.7::192.0.2.1:255.255.255.0::eno1:off:192.0.2.53:192.0.2.54");
    assert_string_equal(arguments(vlan, "ip"), "vlan=eno1.12:eno1 ip=192.0.2.7:::255.255.255.0::eno1.12:off:192.0.2.53");
    assert_string_equal(arguments("{\"address\": \"192.0.2.7/30\"}", "ip"), "ip=192.0.2.7:::255.255.255.252:::off");
    assert_string_equal(arguments(plain, "debian-installer"),
                        "netcfg/choose_interface=eno1 netcfg/disable_autoconfig=true netcfg/get_ipaddress=192.0.2.7 "
                        "netcfg/get_netmask=255.255.255.0 netcfg/get_gateway=192.0.2.1 "
                        "netcfg/get_nameservers=\"192.0.2.53 192.0.2.54\" netcfg/confirm_static=true");
    assert_non_null(strstr(arguments(vlan, "debian-installer"),
                           " netcfg/get_gateway=none netcfg/get_nameservers=192.0.2.53 netcfg/confirm_static=true "
                           "netcfg/use_vlan=true netcfg/vlan_id=12"));
    assert_string_equal(arguments(plain, "provisioner"),
                        "provisioner.ip=192.0.2.7/24 provisioner.gw=192.0.2.1 provisioner.interface=eno1 "
                        "provisioner.dns=192.0.2.53,192.0.2.54 "
                        "ip=192.0.2.7::192.0.2.1:255.255.255.0::eno1:off:192.0.2.53:192.0.2.54");
    assert_false(seed_network_arguments(&network, "dhcp", out, error));
}

static void test_what_is_wrong(void **state)
{
    static const char *const bad[][2] = {
        {"x", "no JSON"},
        {"[]", "no JSON"},
        {"{}", "needs an address"},
        {"{\"address\": \"192.0.2.7\"}", "netmask"},
        {"{\"address\": \"192.0.2.7 x=1/24\"}", "address"},
        {"{\"address\": \"2001:db8::1/64\"}", "address"},
        {"{\"address\": \"192.0.2.7/33\"}", "address"},
        {"{\"address\": \"192.0.2.7\", \"netmask\": \"255.0.255.0\"}", "netmask"},
        {"{\"address\": \"192.0.2.7\", \"netmask\": \"0.0.0.0\"}", "netmask"},
        {"{\"address\": \"192.0.2.7/24\", \"gateway\": true}", "gateway"},
        {"{\"address\": \"192.0.2.7/24\", \"interface\": \"a b\"}", "interface"},
        {"{\"address\": \"192.0.2.7/24\", \"interface\": \"sixteen-letters-\"}", "interface"},
        {"{\"address\": \"192.0.2.7/24\", \"vlan\": 4095}", "vlan"},
        {"{\"address\": \"192.0.2.7/24\", \"vlan\": 5}", "needs an interface"},
        {"{\"address\": \"192.0.2.7/24\", \"dns\": \"1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1\"}", "three"},
        {"{\"address\": \"192.0.2.7/24\", \"dns\": [1]}", "dns"},
        {"{\"address\": \"192.0.2.7/24\", \"colour\": 1}", "colour"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(seed_network_parse(bad[i][0], &network, error));
        if (!strstr(error, bad[i][1]))
            fail_msg("%s: \"%s\" has no \"%s\"", bad[i][0], error, bad[i][1]);
    }
}

static void same(json_t *made, const char *wanted)
{
    json_t *other = json_loads(wanted, 0, NULL);
    char *text = json_dumps(made, JSON_COMPACT);
    assert_non_null(other);
    if (!json_equal(made, other))
        fail_msg("%s is not %s", text, wanted);
    free(text);
    json_decref(made);
    json_decref(other);
}

static void test_files(void **state)
{
    (void)state;
    assert_true(seed_network_parse(plain, &network, error));
    same(seed_network_config(&network, ""),
         "{\"version\": 2, \"ethernets\": {\"eno1\": {\"addresses\": [\"192.0.2.7/24\"], \"routes\": [{\"to\": \"0.0.0.0/0\", "
         "\"via\": \"192.0.2.1\"}], \"nameservers\": {\"addresses\": [\"192.0.2.53\", \"192.0.2.54\"]}}}}");
    same(seed_network_data(&network, "02:00:00:00:00:01"),
         "{\"links\": [{\"id\": \"nic0\", \"type\": \"phy\", \"ethernet_mac_address\": \"02:00:00:00:00:01\", \"name\": \"eno1\"}], "
         "\"networks\": [{\"id\": \"network0\", \"type\": \"ipv4\", \"link\": \"nic0\", \"ip_address\": \"192.0.2.7\", "
         "\"netmask\": \"255.255.255.0\", \"routes\": [{\"network\": \"0.0.0.0\", \"netmask\": \"0.0.0.0\", \"gateway\": "
         "\"192.0.2.1\"}]}], \"services\": [{\"type\": \"dns\", \"address\": \"192.0.2.53\"}, {\"type\": \"dns\", \"address\": "
         "\"192.0.2.54\"}]}");
    assert_true(seed_network_parse(vlan, &network, error));
    same(seed_network_config(&network, "02:00:00:00:00:01"),
         "{\"version\": 2, \"ethernets\": {\"eno1\": {\"match\": {\"macaddress\": \"02:00:00:00:00:01\"}}}, \"vlans\": "
         "{\"eno1.12\": {\"id\": 12, \"link\": \"eno1\", \"addresses\": [\"192.0.2.7/24\"], \"nameservers\": {\"addresses\": "
         "[\"192.0.2.53\"]}}}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arguments), cmocka_unit_test(test_what_is_wrong),
                                       cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
