#include "helper/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MAX      255u
#define BLOCK_MIN      512u
#define BLOCK_MAX      4096u
#define TIMEOUT_MAX_S  (24u * 3600)
#define PATIENCE_MAX   (60u * 60 * 1000)
#define READ_AHEAD_MAX (1u << 20) /* KiB */
#define POWER_MAX      1000u
#define SLOTS_MAX      1024u
#define BACKEND_PREFIX "nbd-proxy:"
#define NAME_LETTERS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

/* --- texts --- */

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* It goes into one line of a file of sysfs or configfs. */
static bool message_is_line(const char *text, size_t size)
{
    if (!ends(text, size))
        return false;
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

/* A name behind a prefix: no folder can be left by it. */
static bool message_is_ours(const char *text, size_t size, const char *prefix)
{
    size_t length = strlen(prefix);
    if (!ends(text, size) || strncmp(text, prefix, length) != 0)
        return false;
    text += length;
    return *text && text[strspn(text, NAME_LETTERS)] == '\0';
}

/* --- each operation --- */

static bool is_flag(uint32_t value)
{
    return value <= 1;
}

static bool check_device(const struct helper_nbd *nbd)
{
    return nbd->index <= INDEX_MAX && message_is_ours(nbd->backend, sizeof nbd->backend, BACKEND_PREFIX);
}

static bool message_check_nbd(const struct helper_nbd *nbd, unsigned fds)
{
    uint32_t block = nbd->block_size;
    return check_device(nbd) && fds >= 1 && fds <= KERNEL_CONNECTIONS_MAX && block >= BLOCK_MIN && block <= BLOCK_MAX &&
           (block & (block - 1)) == 0 && nbd->size % block == 0 && nbd->size <= INT64_MAX && nbd->flags <= UINT16_MAX &&
           nbd->timeout_s <= TIMEOUT_MAX_S && nbd->dead_timeout_s <= TIMEOUT_MAX_S && nbd->read_ahead_kb <= READ_AHEAD_MAX;
}

static bool message_check_gadget(const struct helper_gadget *g)
{
    return message_is_ours(g->name, sizeof g->name, "") && message_is_ours(g->function, sizeof g->function, "") &&
           message_is_line(g->manufacturer, sizeof g->manufacturer) && message_is_line(g->product, sizeof g->product) &&
           message_is_line(g->serial, sizeof g->serial) && message_is_line(g->inquiry, sizeof g->inquiry) &&
           message_is_line(g->udc, sizeof g->udc) && !strchr(g->udc, '/') && !g->filler[0] && !g->filler[1] &&
           !g->filler[2] && g->vendor_id <= UINT16_MAX && g->product_id <= UINT16_MAX && g->max_power_ma <= POWER_MAX &&
           is_flag(g->cdrom) && is_flag(g->always_present) && g->device <= INDEX_MAX && is_flag(g->medium_cdrom) &&
           is_flag(g->read_only) && is_flag(g->no_fua) && g->patience_ms <= PATIENCE_MAX;
}

static bool check_hook(const struct helper_hook *hook)
{
    return hook->verb <= HOST_BOOT && hook->reset < HOST_RESETS && hook->target < HOST_TARGETS &&
           hook->enabled < HOST_ENABLEDS && hook->mode < HOST_MODES;
}

static bool check_password(const struct helper_password *p)
{
    return message_is_line(p->name, sizeof p->name) && *p->name && ends(p->password, sizeof p->password) &&
           message_is_line(p->peer, sizeof p->peer);
}

bool helper_request_check(const void *data, size_t size, unsigned fds)
{
    const struct helper_request *request = data;
    if (size != sizeof *request || request->fds != fds)
        return false;
    switch (request->op) {
    case HELPER_NBD_CONNECT:
    case HELPER_NBD_RECONNECT:
        return message_check_nbd(&request->nbd, fds);
    case HELPER_NBD_DISCONNECT:
        return fds == 0 && check_device(&request->nbd);
    case HELPER_GADGET_PREPARE:
    case HELPER_GADGET_INSERT:
    case HELPER_GADGET_EJECT:
    case HELPER_GADGET_REMOVE:
        return fds == 0 && message_check_gadget(&request->gadget);
    case HELPER_LOW_PORT:
        return fds == 1;
    case HELPER_BMCWEB:
        return fds == 0 && request->slot < SLOTS_MAX;
    case HELPER_HOOK:
        return fds == 2 && check_hook(&request->hook);
    case HELPER_PASSWORD:
        return fds == 0 && check_password(&request->password);
    case HELPER_ACCOUNTS:
    case HELPER_SETTINGS:
        return fds == 0;
    default:
        return false;
    }
}

/* --- to and from what the kernel's calls take --- */

#define COPY(to, from)                                                                             \
    do {                                                                                           \
        _Static_assert(sizeof(to) == sizeof(from), "both sides have the same room");               \
        memcpy(to, from, sizeof(to));                                                              \
    } while (0)

void helper_nbd_pack(struct helper_nbd *to, const struct kernel_nbd *nbd)
{
    *to = (struct helper_nbd){
        .index = nbd->index,
        .size = nbd->size,
        .block_size = nbd->block_size,
        .flags = nbd->flags,
        .timeout_s = nbd->timeout_s,
        .dead_timeout_s = nbd->dead_timeout_s,
        .read_ahead_kb = nbd->read_ahead_kb,
    };
    COPY(to->backend, nbd->backend);
}

void helper_nbd_unpack(const struct helper_nbd *from, struct kernel_nbd *nbd)
{
    *nbd = (struct kernel_nbd){
        .index = from->index,
        .size = from->size,
        .block_size = from->block_size,
        .flags = (uint16_t)from->flags,
        .timeout_s = from->timeout_s,
        .dead_timeout_s = from->dead_timeout_s,
        .read_ahead_kb = from->read_ahead_kb,
    };
    COPY(nbd->backend, from->backend);
}

static unsigned message_device_number(const char *device)
{
    static const char prefix[] = "/dev/nbd";
    return strncmp(device, prefix, sizeof prefix - 1) == 0 ? (unsigned)strtoul(device + sizeof prefix - 1, NULL, 10) : UINT32_MAX;
}

void helper_gadget_pack(struct helper_gadget *to, const struct kernel_gadget *gadget, const struct kernel_medium *medium)
{
    *to = (struct helper_gadget){
        .vendor_id = gadget->vendor_id,
        .product_id = gadget->product_id,
        .max_power_ma = gadget->max_power_ma,
        .cdrom = gadget->cdrom,
        .always_present = gadget->always_present,
    };
    COPY(to->name, gadget->name);
    COPY(to->function, gadget->function);
    COPY(to->manufacturer, gadget->manufacturer);
    COPY(to->product, gadget->product);
    COPY(to->serial, gadget->serial);
    COPY(to->inquiry, gadget->inquiry);
    COPY(to->udc, gadget->udc);
    if (!medium)
        return;
    to->device = message_device_number(medium->device);
    to->medium_cdrom = medium->cdrom;
    to->read_only = medium->read_only;
    to->no_fua = medium->no_fua;
}

void helper_gadget_unpack(const struct helper_gadget *from, struct kernel_gadget *gadget, struct kernel_medium *medium)
{
    *gadget = (struct kernel_gadget){
        .vendor_id = (uint16_t)from->vendor_id,
        .product_id = (uint16_t)from->product_id,
        .max_power_ma = from->max_power_ma,
        .cdrom = from->cdrom != 0,
        .always_present = from->always_present != 0,
    };
    COPY(gadget->name, from->name);
    COPY(gadget->function, from->function);
    COPY(gadget->manufacturer, from->manufacturer);
    COPY(gadget->product, from->product);
    COPY(gadget->serial, from->serial);
    COPY(gadget->inquiry, from->inquiry);
    COPY(gadget->udc, from->udc);
    *medium = (struct kernel_medium){
        .cdrom = from->medium_cdrom != 0, .read_only = from->read_only != 0, .no_fua = from->no_fua != 0};
    snprintf(medium->device, sizeof medium->device, "/dev/nbd%u", from->device);
}

void helper_hook_unpack(const struct helper_hook *from, struct host_request *request)
{
    *request = (struct host_request){
        .verb = (enum host_verb)from->verb,
        .reset = (enum host_reset)from->reset,
        .boot = {(enum host_target)from->target, (enum host_enabled)from->enabled, (enum host_mode)from->mode},
    };
}
