/*
 * A machine's static IPv4 address and what belongs to it, as JSON, in the form of RackN's network-data:
 *
 *     {"address": "192.0.2.7", "netmask": "255.255.255.0", "gateway": "192.0.2.1", "interface": "eno1", "vlan": 12,
 *      "dns": "192.0.2.53,192.0.2.54"}
 *
 * or an object that has that as its only member, whatever its name. It becomes arguments of a kernel, or a file of a
 * config medium.
 */
#ifndef SEED_NETWORK_H
#define SEED_NETWORK_H

#include <jansson.h>
#include <stdbool.h>

#include "seed/files.h"

#define SEED_NETWORK_MAX   4096 /* bytes of the JSON */
#define SEED_ARGUMENTS_MAX 1024
#define SEED_DNS_MAX       3
#define SEED_ADDRESS_MAX   16
#define SEED_INTERFACE_MAX 16

/* "" and 0: not given. */
struct seed_network {
    char address[SEED_ADDRESS_MAX], netmask[SEED_ADDRESS_MAX], gateway[SEED_ADDRESS_MAX], interface[SEED_INTERFACE_MAX];
    char dns[SEED_DNS_MAX][SEED_ADDRESS_MAX];
    unsigned dns_count, prefix, vlan;
};

bool seed_network_parse(const char *text, struct seed_network *network, char error[SEED_ERROR_MAX]);
/* The arguments for what the image boots: `kind` is "ip" (the kernel's own, dracut, initramfs-tools; NULL is the same),
 * "debian-installer", or "provisioner" (RackN's, with ip= for their initrd). */
bool seed_network_arguments(const struct seed_network *network, const char *kind, char out[SEED_ARGUMENTS_MAX],
                            char error[SEED_ERROR_MAX]);
bool seed_network_is_kind(const char *kind);
/* network-config of cloud-init's NoCloud, version 2. `mac` "": the interface is known by its name alone. */
json_t *seed_network_config(const struct seed_network *network, const char *mac);
/* network_data.json of OpenStack, which knows an interface by its address. */
json_t *seed_network_data(const struct seed_network *network, const char *mac);

#endif
