#include "seed/network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "seed/say.h"

/* --- from JSON --- */

/* One address, as inet_ntop() writes it. */
static bool take_address(const char *text, size_t length, char to[SEED_ADDRESS_MAX])
{
    char one[SEED_ADDRESS_MAX];
    struct in_addr address;
    if (length >= sizeof one)
        return false;
    memcpy(one, text, length);
    one[length] = '\0';
    return inet_pton(AF_INET, one, &address) == 1 && inet_ntop(AF_INET, &address, to, SEED_ADDRESS_MAX);
}

static bool set_prefix(struct seed_network *network, unsigned prefix)
{
    struct in_addr mask = {htonl((uint32_t)(0xffffffffull << (32 - prefix)))};
    network->prefix = prefix;
    return inet_ntop(AF_INET, &mask, network->netmask, sizeof network->netmask);
}

static bool take_prefix(struct seed_network *network, const char *text)
{
    unsigned prefix;
    char end;
    return sscanf(text, "%2u%c", &prefix, &end) == 1 && prefix >= 1 && prefix <= 32 && set_prefix(network, prefix);
}

static bool take_netmask(struct seed_network *network, const char *text)
{
    struct in_addr address;
    if (!strchr(text, '.'))
        return take_prefix(network, text);
    if (inet_pton(AF_INET, text, &address) != 1)
        return false;
    uint32_t mask = ntohl(address.s_addr);
    unsigned prefix = (unsigned)__builtin_popcount(mask);
    return prefix > 0 && (uint32_t)(0xffffffffull << (32 - prefix)) == mask && set_prefix(network, prefix);
}

static bool network_take_address(struct seed_network *network, const char *text)
{
    size_t length = strcspn(text, "/");
    return take_address(text, length, network->address) && (!text[length] || take_prefix(network, text + length + 1));
}

static bool take_gateway(struct seed_network *network, const char *text)
{
    return take_address(text, strlen(text), network->gateway);
}

static bool take_interface(struct seed_network *network, const char *text)
{
    static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    size_t length = strlen(text);
    snprintf(network->interface, sizeof network->interface, "%s", text);
    return length > 0 && length < SEED_INTERFACE_MAX && strspn(text, legal) == length;
}

static bool take_vlan(struct seed_network *network, const char *text)
{
    char end;
    return sscanf(text, "%4u%c", &network->vlan, &end) == 1 && network->vlan >= 1 && network->vlan <= 4094;
}

static bool take_dns(struct seed_network *network, const char *text)
{
    for (text += strspn(text, ", "); *text; text += strspn(text, ", ")) {
        size_t length = strcspn(text, ", ");
        if (network->dns_count == SEED_DNS_MAX || !take_address(text, length, network->dns[network->dns_count++]))
            return false;
        text += length;
    }
    return true;
}

static const struct {
    const char *name;
    bool (*take)(struct seed_network *network, const char *text);
    const char *expected;
} members[] = {
    {"address", network_take_address, "an IPv4 address, as 192.0.2.7 or 192.0.2.7/24"},
    {"netmask", take_netmask, "a netmask, as 255.255.255.0 or 24"},
    {"gateway", take_gateway, "an IPv4 address"},
    {"interface", take_interface, "an interface's name of at most 15 letters, digits, _, - and ."},
    {"vlan", take_vlan, "a number from 1 to 4094"},
    {"dns", take_dns, "at most three IPv4 addresses"},
};
enum { MEMBERS = sizeof members / sizeof *members };

static bool take_member(struct seed_network *network, const char *name, const json_t *value, char error[SEED_ERROR_MAX])
{
    char number[24];
    unsigned i = 0;
    size_t nth;
    const json_t *each;
    snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    while (i < MEMBERS && strcmp(members[i].name, name) != 0)
        i++;
    if (i == MEMBERS)
        return seed_say(error, "network-data has no \"%.40s\" (it may have address, netmask, gateway, interface, vlan, dns)", name);
    bool good = json_is_integer(value) ? members[i].take(network, number)
                                       : json_is_string(value) && members[i].take(network, json_string_value(value));
    if (json_is_array(value) && members[i].take == take_dns) {
        good = true;
        json_array_foreach(value, nth, each) good = good && json_is_string(each) && take_dns(network, json_string_value(each));
    }
    return good || seed_say(error, "network-data's %s is %s", name, members[i].expected);
}

/* The object that has the members: the root, or the only one in it. */
static json_t *inner(json_t *root)
{
    void *only = json_object_iter(root);
    json_t *value = json_object_iter_value(only);
    return json_object_size(root) == 1 && json_is_object(value) ? value : root;
}

static bool take_members(struct seed_network *network, json_t *object, char error[SEED_ERROR_MAX])
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) if (!take_member(network, name, value, error)) return false;
    if (!*network->address || network->prefix == 0)
        return seed_say(error, "network-data needs an address and a netmask");
    return network->vlan == 0 || *network->interface || seed_say(error, "network-data with a vlan needs an interface");
}

bool seed_network_parse(const char *text, struct seed_network *network, char error[SEED_ERROR_MAX])
{
    json_t *root = strlen(text) <= SEED_NETWORK_MAX ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    memset(network, 0, sizeof *network);
    bool good = json_is_object(root) ? take_members(network, inner(root), error)
                                     : seed_say(error, "network-data is no JSON object of at most %u bytes", SEED_NETWORK_MAX);
    json_decref(root);
    return good;
}

/* --- as arguments --- */

static void put_dns(FILE *out, const struct seed_network *network, const char *begin, const char *between)
{
    for (unsigned i = 0; i < network->dns_count; i++)
        fprintf(out, "%s%s", i == 0 ? begin : between, network->dns[i]);
}

/* The interface that has the address: a VLAN's is IFACE.ID. */
static void put_interface(FILE *out, const struct seed_network *network)
{
    fputs(network->interface, out);
    if (network->vlan > 0)
        fprintf(out, ".%u", network->vlan);
}

/* nfsroot.rst of the kernel, dracut.cmdline(7), initramfs-tools(7): ip=CLIENT:SERVER:GATEWAY:MASK:NAME:DEVICE:HOW:DNS:DNS */
static void put_ip(FILE *out, const struct seed_network *network)
{
    if (network->vlan > 0) {
        fputs("vlan=", out);
        put_interface(out, network);
        fprintf(out, ":%s ", network->interface);
    }
    fprintf(out, "ip=%s::%s:%s::", network->address, network->gateway, network->netmask);
    put_interface(out, network);
    fputs(":off", out);
    for (unsigned i = 0; i < network->dns_count && i < 2; i++)
        fprintf(out, ":%s", network->dns[i]);
}

/* The installation guide's preseeding of the network, as arguments. */
static void put_debian_installer(FILE *out, const struct seed_network *network)
{
    fprintf(out, "netcfg/choose_interface=%s netcfg/disable_autoconfig=true netcfg/get_ipaddress=%s netcfg/get_netmask=%s",
            *network->interface ? network->interface : "auto", network->address, network->netmask);
    fprintf(out, " netcfg/get_gateway=%s", *network->gateway ? network->gateway : "none");
    if (network->dns_count > 0)
        put_dns(out, network, network->dns_count > 1 ? " netcfg/get_nameservers=\"" : " netcfg/get_nameservers=", " ");
    fputs(network->dns_count > 1 ? "\"" : "", out);
    fputs(" netcfg/confirm_static=true", out);
    if (network->vlan > 0)
        fprintf(out, " netcfg/use_vlan=true netcfg/vlan_id=%u", network->vlan);
}

static void put_provisioner(FILE *out, const struct seed_network *network)
{
    fprintf(out, "provisioner.ip=%s/%u", network->address, network->prefix);
    if (*network->gateway)
        fprintf(out, " provisioner.gw=%s", network->gateway);
    if (*network->interface)
        fprintf(out, " provisioner.interface=%s", network->interface);
    if (network->vlan > 0)
        fprintf(out, " provisioner.vlan=%u", network->vlan);
    put_dns(out, network, " provisioner.dns=", ",");
    fputc(' ', out);
    put_ip(out, network);
}

static const struct {
    const char *name;
    void (*put)(FILE *out, const struct seed_network *network);
} kinds[] = {{"ip", put_ip}, {"debian-installer", put_debian_installer}, {"provisioner", put_provisioner}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static unsigned network_kind(const char *name)
{
    unsigned i = 0;
    while (i < KINDS && name && strcmp(kinds[i].name, name) != 0)
        i++;
    return i;
}

bool seed_network_is_kind(const char *kind)
{
    return network_kind(kind) < KINDS;
}

bool seed_network_arguments(const struct seed_network *network, const char *kind, char out[SEED_ARGUMENTS_MAX],
                            char error[SEED_ERROR_MAX])
{
    unsigned i = network_kind(kind);
    if (i == KINDS)
        return seed_say(error, "network-kind is ip, debian-installer or provisioner");
    FILE *text = fmemopen(out, SEED_ARGUMENTS_MAX, "w");
    if (!text)
        return seed_say(error, "there is no memory for the network's arguments");
    kinds[i].put(text, network);
    fclose(text);
    return true;
}

/* --- as files --- */

static json_t *dns_list(const struct seed_network *network)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < network->dns_count; i++)
        json_array_append_new(list, json_string(network->dns[i]));
    return list;
}

/* What an interface of network-config has, other than its name. */
static void put_addresses(json_t *interface, const struct seed_network *network)
{
    char address[SEED_ADDRESS_MAX + 4];
    snprintf(address, sizeof address, "%s/%u", network->address, network->prefix);
    json_object_set_new(interface, "addresses", json_pack("[s]", address));
    if (*network->gateway)
        json_object_set_new(interface, "routes", json_pack("[{s:s, s:s}]", "to", "0.0.0.0/0", "via", network->gateway));
    if (network->dns_count > 0)
        json_object_set_new(interface, "nameservers", json_pack("{s:o}", "addresses", dns_list(network)));
}

json_t *seed_network_config(const struct seed_network *network, const char *mac)
{
    const char *name = *network->interface ? network->interface : "nic0";
    char vlan_name[SEED_INTERFACE_MAX + 12];
    json_t *nic = json_object(), *vlan = json_object();
    if (*mac)
        json_object_set_new(nic, "match", json_pack("{s:s}", "macaddress", mac));
    else if (!*network->interface)
        json_object_set_new(nic, "match", json_pack("{s:s}", "name", "e*"));
    put_addresses(network->vlan > 0 ? vlan : nic, network);
    json_t *root = json_pack("{s:i, s:{s:o}}", "version", 2, "ethernets", name, nic);
    if (network->vlan > 0) {
        snprintf(vlan_name, sizeof vlan_name, "%s.%u", name, network->vlan);
        json_object_set_new(vlan, "id", json_integer(network->vlan));
        json_object_set_new(vlan, "link", json_string(name));
        json_object_set_new(root, "vlans", json_pack("{s:O}", vlan_name, vlan));
    }
    json_decref(vlan);
    return root;
}

static json_t *data_links(const struct seed_network *network, const char *mac)
{
    json_t *links = json_pack("[{s:s, s:s, s:s}]", "id", "nic0", "type", "phy", "ethernet_mac_address", mac);
    if (*network->interface)
        json_object_set_new(json_array_get(links, 0), "name", json_string(network->interface));
    if (network->vlan > 0)
        json_array_append_new(links, json_pack("{s:s, s:s, s:s, s:i, s:s}", "id", "vlan0", "type", "vlan", "vlan_link", "nic0",
                                               "vlan_id", (int)network->vlan, "vlan_mac_address", mac));
    return links;
}

static json_t *data_services(const struct seed_network *network)
{
    json_t *services = json_array();
    for (unsigned i = 0; i < network->dns_count; i++)
        json_array_append_new(services, json_pack("{s:s, s:s}", "type", "dns", "address", network->dns[i]));
    return services;
}

json_t *seed_network_data(const struct seed_network *network, const char *mac)
{
    json_t *one = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", "network0", "type", "ipv4", "link",
                            network->vlan > 0 ? "vlan0" : "nic0", "ip_address", network->address, "netmask", network->netmask);
    if (*network->gateway)
        json_object_set_new(one, "routes", json_pack("[{s:s, s:s, s:s}]", "network", "0.0.0.0", "netmask", "0.0.0.0", "gateway",
                                                     network->gateway));
    return json_pack("{s:o, s:[o], s:o}", "links", data_links(network, mac), "networks", one, "services", data_services(network));
}
