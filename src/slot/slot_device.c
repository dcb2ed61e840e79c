/* A slot's calls to the kernel, one at a time, on the thread pool. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

#define DEVICE_BLOCK 512u
/* The kernel's limit of a request, over our own io-timeout. When a daemon is killed, requests
 * that it had are only given to the next one after that time, which has to be within a host's
 * 30 seconds; requests that it had not received go on at once. */
#define TIMEOUT_SPARE_MS 2000u

/* --- what the configuration says --- */

static enum config_attach resolve_attach(const struct kernel_ops *kernel, enum config_attach wanted)
{
    char why[KERNEL_ERROR_MAX];
    if (wanted != ATTACH_AUTO)
        return wanted;
    if (kernel->check_nbd(why) != 0)
        return ATTACH_SOCKET;
    return kernel->check_gadget(why) == 0 ? ATTACH_USB : ATTACH_NBD;
}

static unsigned device_index(const struct slot *slot)
{
    static const char prefix[] = "/dev/nbd";
    const char *device = slot->config.device;
    return *device ? (unsigned)strtoul(device + sizeof prefix - 1, NULL, 10) : slot->index;
}

/* The serial number only has to differ between machines and slots. */
static void make_serial(const struct slot *slot, char *out, size_t size)
{
    char machine[64] = "";
    FILE *file = fopen("/etc/machine-id", "re");
    if (!file || !fgets(machine, sizeof machine, file))
        gethostname(machine, sizeof machine - 1);
    if (file)
        fclose(file);
    uint64_t hash = text_hash(TEXT_HASH_START, machine, strlen(machine));
    snprintf(out, size, "%016" PRIX64, text_hash(hash, slot->config.name, strlen(slot->config.name)));
}

static void setup_gadget(struct slot *slot, struct kernel_gadget *gadget)
{
    const struct config_usb *usb = &slot->config.usb;
    bool cd = slot->config.media == MEDIA_CD;
    *gadget = (struct kernel_gadget){
        .vendor_id = (uint16_t)usb->vendor_id,
        .product_id = (uint16_t)usb->product_id,
        .max_power_ma = (unsigned)usb->power,
        .cdrom = cd && usb->cdrom != CDROM_NO,
        .always_present = usb->present == PRESENT_ALWAYS,
    };
    config_gadget_name(&slot->config, gadget->name);
    snprintf(gadget->function, sizeof gadget->function, "%s", usb->function);
    snprintf(gadget->manufacturer, sizeof gadget->manufacturer, "%s", usb->manufacturer);
    snprintf(gadget->product, sizeof gadget->product, "%s", usb->product);
    snprintf(gadget->udc, sizeof gadget->udc, "%s", usb->controller);
    snprintf(gadget->inquiry, sizeof gadget->inquiry, "%s",
             *usb->inquiry ? usb->inquiry : cd ? "nbd-prxyVirtual CD/DVD" : "nbd-prxyVirtual Disk");
    if (*usb->serial)
        snprintf(gadget->serial, sizeof gadget->serial, "%s", usb->serial);
    else
        make_serial(slot, gadget->serial, sizeof gadget->serial);
}

void slot_device_setup(struct slot *slot)
{
    struct slot_device *device = &slot->device;
    const struct config_slot *config = &slot->config;
    uint64_t timeout = config->http.io_timeout_ms + TIMEOUT_SPARE_MS;
    device->kernel = slot->shared->kernel;
    device->attach = resolve_attach(device->kernel, config->attach);
    device->eject_patience_ms = (unsigned)config->usb.eject_patience_ms;
    device->swept = device->unsweepable = false;
    device->nbd = (struct kernel_nbd){
        .index = device_index(slot),
        .timeout_s = (unsigned)(timeout / 1000),
        .dead_timeout_s = (unsigned)((config->restart_grace_ms + 999) / 1000),
        .read_ahead_kb = (uint32_t)(config->device_readahead >> 10),
        .count = (unsigned)config->device_connections,
    };
    snprintf(device->nbd.backend, sizeof device->nbd.backend, "nbd-proxy:%s", config->name);
    setup_gadget(slot, &device->gadget);
    snprintf(device->medium.device, sizeof device->medium.device, "/dev/nbd%u", device->nbd.index);
}

bool slot_device_uses_kernel(const struct slot *slot)
{
    return slot->device.attach != ATTACH_SOCKET;
}

/* --- what the medium says --- */

static bool choose_cdrom(struct slot *slot, uint64_t size, int *status, char error[SLOT_ERROR_MAX])
{
    const struct config_slot *config = &slot->config;
    *status = 0;
    if (config->media != MEDIA_CD || config->usb.cdrom == CDROM_NO)
        return false;
    if (size <= KERNEL_CDROM_MAX)
        return true;
    if (config->usb.cdrom == CDROM_YES) {
        *status = -EFBIG;
        snprintf(error, SLOT_ERROR_MAX,
                 "the image has %" PRIu64 " bytes, and the kernel shows %llu of a CD at most "
                 "(set usb-cdrom = auto: it is then shown as a USB disk)",
                 size, KERNEL_CDROM_MAX);
    } else if (slot->device.attach == ATTACH_USB) {
        log_notice(config->name, "the image is larger than the kernel's CD-ROM (%llu bytes): the host sees a USB disk",
                   KERNEL_CDROM_MAX);
    }
    return false;
}

struct pipeline_drive slot_device_drive(const struct slot *slot)
{
    bool cd = slot->config.media == MEDIA_CD, usb = slot->device.attach == ATTACH_USB;
    struct pipeline_drive drive = {.multiple = 1, .resume = slot_restoring(slot)};
    if (!slot_device_uses_kernel(slot))
        return drive; /* a client of the socket sees the image as it is */
    drive.multiple = cd ? KERNEL_CDROM_SECTOR : DEVICE_BLOCK;
    drive.minimum = cd && usb ? KERNEL_CDROM_MIN : 0;
    return drive;
}

int slot_device_choose(struct slot *slot, char error[SLOT_ERROR_MAX])
{
    struct slot_device *device = &slot->device;
    uint64_t size = slot->source->size;
    int status;
    device->medium.cdrom = choose_cdrom(slot, size, &status, error);
    device->medium.read_only = slot->source->read_only || device->medium.cdrom;
    device->medium.no_fua = !slot->config.usb.fua;
    device->nbd.block_size = device->medium.cdrom ? KERNEL_CDROM_SECTOR : DEVICE_BLOCK;
    device->nbd.size = size;
    return status;
}

/* --- the jobs --- */

/* Removes all that is ours in the kernel, from this process or one before. */
static int run_remove(struct slot_device *d)
{
    int status = d->kernel->gadget_remove(&d->gadget, d->error);
    return status == 0 ? d->kernel->nbd_disconnect(d->nbd.index, d->nbd.backend, d->error) : status;
}

static int run_prepare(struct slot_device *d)
{
    int status = run_remove(d);
    if (status == 0 && d->attach == ATTACH_USB)
        status = d->kernel->gadget_prepare(&d->gadget, d->error);
    return status;
}

/* A device that can't be taken up again is made anew: the host sees another medium. */
static int run_attach(struct slot_device *d)
{
    if (!d->reconnect)
        return d->kernel->nbd_connect(&d->nbd, d->error);
    if (d->kernel->nbd_reconnect(&d->nbd, d->error) == 0)
        return 0;
    log_warning(d->nbd.backend + sizeof "nbd-proxy:" - 1, "the device is made anew: %s", d->error);
    int status = run_prepare(d);
    return status == 0 ? d->kernel->nbd_connect(&d->nbd, d->error) : status;
}

static int run_job(struct slot_device *d)
{
    bool usb = d->attach == ATTACH_USB;
    switch (d->job) {
    case JOB_PREPARE:
        return run_prepare(d);
    case JOB_ATTACH:
        return run_attach(d);
    case JOB_RECONNECT:
        return d->kernel->nbd_reconnect(&d->nbd, d->error);
    case JOB_BIND:
        return usb ? d->kernel->gadget_insert(&d->gadget, &d->medium, d->error) : 0;
    case JOB_UNBIND:
        return usb ? d->kernel->gadget_eject(&d->gadget, d->eject_patience_ms, d->error) : 0;
    case JOB_DETACH:
        return d->kernel->nbd_disconnect(d->nbd.index, d->nbd.backend, d->error);
    case JOB_REMOVE:
        return run_remove(d);
    case JOB_LOOK:
        d->emptied = d->kernel->gadget_is_empty(&d->gadget);
        return 0;
    }
    return -EINVAL;
}

static void on_slot_device_run(struct work *work)
{
    struct slot_device *device = container_of(work, struct slot_device, work);
    device->status = run_job(device);
}

static void slot_device_close_fds(struct slot_device *device)
{
    for (unsigned i = 0; i < KERNEL_CONNECTIONS_MAX; i++)
        if (device->nbd.fds[i] > 0) {
            close(device->nbd.fds[i]); /* the kernel holds its own references */
            device->nbd.fds[i] = 0;
        }
}

static void on_slot_device_done(struct work *work)
{
    struct slot_device *device = container_of(work, struct slot_device, work);
    struct slot *slot = container_of(device, struct slot, device);
    enum slot_job job = device->job;
    device->running = false;
    slot_device_close_fds(device);
    if (job == JOB_ATTACH) {
        device->reconnect = false;
        device->swept |= device->status == 0;
    }
    if (job == JOB_PREPARE) {
        device->swept = device->status == 0;
        device->unsweepable = device->status != 0;
    }
    if (job == JOB_REMOVE)
        device->touched = false;
    if (device->status != 0 && !*device->error)
        snprintf(device->error, sizeof device->error, "%s", strerror(-device->status));
    slot_job_done(slot, job, device->status, device->error);
}

/* Our ends go to the server before the kernel gets its own. */
static int make_connections(struct slot *slot, unsigned count)
{
    struct slot_device *device = &slot->device;
    device->nbd.count = 0;
    for (unsigned i = 0; i < count; i++) {
        int pair[2], status;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
            return -errno;
        device->nbd.fds[device->nbd.count++] = pair[1];
        struct stream *stream = socket_stream_new(slot->shared->loop, pair[0], &status);
        if (!stream)
            return status;
        nbd_server_add_kernel(slot->server, stream);
    }
    return 0;
}

static int connections_for(struct slot *slot, enum slot_job job)
{
    if (job == JOB_ATTACH) {
        slot->device.lost = 0;
        slot->device.nbd.flags = nbd_server_flags(slot->server);
        return make_connections(slot, (unsigned)slot->config.device_connections);
    }
    if (job == JOB_RECONNECT) {
        unsigned lost = slot->device.lost < KERNEL_CONNECTIONS_MAX ? slot->device.lost : KERNEL_CONNECTIONS_MAX;
        slot->device.lost = 0;
        return make_connections(slot, lost);
    }
    return 0;
}

static void on_fail(struct work *work)
{
    (void)work; /* the status is there already */
}

void slot_device_start(struct slot *slot, enum slot_job job)
{
    struct slot_device *device = &slot->device;
    device->job = job;
    device->running = device->touched = true;
    device->forced = 0;
    device->began = uv_now(slot->shared->loop);
    device->error[0] = '\0';
    device->status = connections_for(slot, job);
    work_start(slot->shared->loop, &device->work, device->status == 0 ? on_slot_device_run : on_fail, on_slot_device_done);
}

void slot_device_replace_lost(struct slot *slot)
{
    if (slot->device.lost == 0)
        return;
    log_warning(slot->config.name, "the kernel lost %u of its connections to us: it gets new ones", slot->device.lost);
    slot_device_start(slot, JOB_RECONNECT);
}
