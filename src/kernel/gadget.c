/*
 * A gadget a slot, in configfs: /sys/kernel/config/usb_gadget/NAME with one
 * configuration and one mass storage function of one LUN. Not one gadget with a
 * LUN a slot: the function has a single thread for its LUNs, so a read that waits
 * in one slot would hold up the other; firmware often boots only from LUN 0; and
 * taking a locked medium by force unplugs the whole gadget.
 */
#include "kernel/gadget.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/checks.h"
#include "kernel/files.h"
#include "kernel/udc.h"

#define GADGETS GADGET_CONFIGFS "/usb_gadget"
#define FUNCTIONS "functions"
#define CONFIG "configs/c.1"
#define STORAGE "mass_storage" /* the kind of function; its name follows, see gadget_path() */
#define FUNCTION FUNCTIONS "/" STORAGE
#define LINK CONFIG "/" STORAGE
#define LUN FUNCTION "/lun.0"
#define ENGLISH "strings/0x409"
#define NAP_MS 20u

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* FUNCTION and LINK get the function's own name. */
static void gadget_path(const struct kernel_gadget *gadget, char path[FILES_PATH_MAX], const char *file)
{
    size_t kind = begins_with(file, FUNCTION) ? sizeof FUNCTION - 1 : begins_with(file, LINK) ? sizeof LINK - 1 : 0;
    if (kind)
        snprintf(path, FILES_PATH_MAX, GADGETS "/%s/%.*s.%s%s", gadget->name, (int)kind, file, gadget->function, file + kind);
    else
        snprintf(path, FILES_PATH_MAX, GADGETS "/%s%s%s", gadget->name, *file ? "/" : "", file);
}

static bool gadget_exists(const struct kernel_gadget *gadget)
{
    char path[FILES_PATH_MAX];
    gadget_path(gadget, path, "");
    return files_exist(path);
}

static int gadget_read(const struct kernel_gadget *gadget, const char *file, char *out, size_t size)
{
    char path[FILES_PATH_MAX];
    gadget_path(gadget, path, file);
    return files_read(path, out, size);
}

static int gadget_write(const struct kernel_gadget *gadget, const char *file, const char *text)
{
    char path[FILES_PATH_MAX];
    gadget_path(gadget, path, file);
    return files_write(path, text);
}

static bool gadget_has(const struct kernel_gadget *gadget, const char *file, const char *text)
{
    char now[FILES_PATH_MAX];
    return gadget_read(gadget, file, now, sizeof now) == 0 && strcmp(now, text) == 0;
}

/* --- the controller --- */

static bool is_bound(const struct kernel_gadget *gadget)
{
    return gadget_exists(gadget) && !gadget_has(gadget, "UDC", "");
}

static int gadget_unbind(const struct kernel_gadget *gadget)
{
    return is_bound(gadget) ? gadget_write(gadget, "UDC", "\n") : 0;
}

/* The first controller that takes the gadget; others are busy with a gadget. */
static int gadget_bind(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    struct udc_list list;
    if (is_bound(gadget))
        return 0;
    int status = udc_find(GADGET_UDC_CLASS, gadget->udc, &list);
    if (status != 0 || list.count == 0)
        return files_failed(error, -ENODEV, "there is no USB device controller%s%s (see " GADGET_UDC_CLASS ")",
                            *gadget->udc ? " that matches usb-controller = " : "", gadget->udc);
    for (unsigned i = 0; i < list.count; i++) {
        status = gadget_write(gadget, "UDC", list.names[i]);
        if (status == 0)
            return 0;
        if (status != -EBUSY && status != -ENODEV)
            return files_failed(error, status, "USB device controller %s: %s", list.names[i], strerror(-status));
    }
    return files_failed(error, -EBUSY, "each USB device controller is busy with another gadget (see usb-controller)");
}

/* --- making and removing --- */

struct attribute {
    const char *file, *value;
};

static int gadget_write_all(const struct kernel_gadget *gadget, const struct attribute *attributes, unsigned count,
                            char error[KERNEL_ERROR_MAX])
{
    for (unsigned i = 0; i < count; i++) {
        int status = gadget_write(gadget, attributes[i].file, attributes[i].value);
        if (status != 0)
            return files_failed(error, status, "gadget %s: %s: %s", gadget->name, attributes[i].file, strerror(-status));
    }
    return 0;
}

static int make_folders(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    static const char *const folders[] = {"", ENGLISH, CONFIG, CONFIG "/" ENGLISH, FUNCTION};
    for (unsigned i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[FILES_PATH_MAX];
        gadget_path(gadget, path, folders[i]);
        if (mkdir(path, 0755) == 0 || errno == EEXIST)
            continue;
        if (i == 0)
            return kernel_check_gadget(error) != 0 ? -ENODEV
                                                   : files_failed(error, -errno, "%s: %s", path, strerror(errno));
        if (errno == ENOENT)
            return files_failed(error, -ENODEV, "the kernel has no USB mass storage gadget (modprobe usb_f_mass_storage)");
        return files_failed(error, -errno, "%s: %s", path, strerror(errno));
    }
    return 0;
}

static int gadget_describe(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    char vendor[8], product[8], power[8];
    snprintf(vendor, sizeof vendor, "0x%04x", gadget->vendor_id);
    snprintf(product, sizeof product, "0x%04x", gadget->product_id);
    snprintf(power, sizeof power, "%u", gadget->max_power_ma);
    const struct attribute attributes[] = {
        {"idVendor", vendor},
        {"idProduct", product},
        {"bcdUSB", "0x0200"},
        {"bcdDevice", "0x0100"},
        {ENGLISH "/manufacturer", gadget->manufacturer},
        {ENGLISH "/product", gadget->product},
        {ENGLISH "/serialnumber", gadget->serial},
        {CONFIG "/" ENGLISH "/configuration", "Virtual media"},
        {CONFIG "/MaxPower", power},
        {LUN "/removable", "1"},
        {LUN "/inquiry_string", gadget->inquiry},
        {LUN "/cdrom", gadget->cdrom ? "1" : "0"},
    };
    return gadget_write_all(gadget, attributes, sizeof attributes / sizeof attributes[0], error);
}

static int link_function(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    char from[FILES_PATH_MAX], to[FILES_PATH_MAX];
    gadget_path(gadget, from, FUNCTION);
    gadget_path(gadget, to, LINK);
    if (symlink(from, to) != 0 && errno != EEXIST)
        return files_failed(error, -errno, "%s: %s", to, strerror(errno));
    return 0;
}

static int gadget_make(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    int status = make_folders(gadget, error);
    if (status == 0)
        status = gadget_describe(gadget, error);
    return status == 0 ? link_function(gadget, error) : status;
}

/* All functions: one that was made by another configuration may have another name. */
static void remove_functions(const struct kernel_gadget *gadget, const char *folder, int (*take_away)(const char *path))
{
    char path[FILES_PATH_MAX], file[2 * FILES_PATH_MAX];
    gadget_path(gadget, path, folder);
    DIR *listing = opendir(path);
    for (const struct dirent *entry = listing ? readdir(listing) : NULL; entry; entry = readdir(listing)) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (begins_with(entry->d_name, STORAGE "."))
            take_away(file);
    }
    if (listing)
        closedir(listing);
}

int gadget_remove(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    static const char *const folders[] = {CONFIG "/" ENGLISH, CONFIG, ENGLISH, ""};
    char path[FILES_PATH_MAX];
    if (!gadget_exists(gadget))
        return 0;
    int status = gadget_unbind(gadget);
    if (status != 0)
        return files_failed(error, status, "gadget %s can't be taken from its controller: %s", gadget->name,
                            strerror(-status));
    remove_functions(gadget, CONFIG, unlink);
    remove_functions(gadget, FUNCTIONS, rmdir);
    for (unsigned i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        gadget_path(gadget, path, folders[i]);
        if (rmdir(path) != 0 && errno != ENOENT)
            status = files_failed(error, -errno, "%s can't be removed: %s", path, strerror(errno));
    }
    return status;
}

int gadget_prepare(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    int status = gadget_remove(gadget, error); /* what was left of the gadget by a crash */
    if (status == 0)
        status = gadget_make(gadget, error);
    if (status == 0 && gadget->always_present)
        status = gadget_bind(gadget, error);
    return status;
}

/* --- the medium --- */

/* The host reads the type of drive when it sees the device for the first time: a
 * drive of another type has to be plugged in anew. */
static int set_type(const struct kernel_gadget *gadget, bool cdrom, char error[KERNEL_ERROR_MAX])
{
    const char *wanted = cdrom ? "1" : "0";
    if (gadget_has(gadget, LUN "/cdrom", wanted))
        return 0;
    int status = gadget_unbind(gadget);
    if (status != 0)
        return files_failed(error, status, "gadget %s: UDC: %s", gadget->name, strerror(-status));
    return gadget_write_all(gadget, &(struct attribute){LUN "/cdrom", wanted}, 1, error);
}

static int gadget_load(const struct kernel_gadget *gadget, const struct kernel_medium *medium,
                       char error[KERNEL_ERROR_MAX])
{
    const struct attribute attributes[] = {
        {LUN "/ro", medium->read_only ? "1" : "0"},
        {LUN "/nofua", medium->no_fua ? "1" : "0"},
        {LUN "/file", medium->device},
    };
    int status = set_type(gadget, medium->cdrom, error);
    return status == 0 ? gadget_write_all(gadget, attributes, sizeof attributes / sizeof attributes[0], error) : status;
}

int gadget_insert(const struct kernel_gadget *gadget, const struct kernel_medium *medium, char error[KERNEL_ERROR_MAX])
{
    int status = gadget_exists(gadget) ? 0 : gadget_make(gadget, error);
    if (status == 0 && !gadget_has(gadget, LUN "/file", medium->device))
        status = gadget_load(gadget, medium, error);
    if (status == 0)
        status = gadget_bind(gadget, error);
    if (status != 0 && gadget_exists(gadget)) {
        char ignored[KERNEL_ERROR_MAX];
        gadget_eject(gadget, 0, ignored);
    }
    return status;
}

/* The host's lock (PREVENT ALLOW MEDIUM REMOVAL) makes the kernel answer EBUSY. */
static int unload_patiently(const struct kernel_gadget *gadget, unsigned patience_ms)
{
    int status = gadget_write(gadget, LUN "/file", "\n");
    for (unsigned waited = 0; status == -EBUSY && waited < patience_ms; waited += NAP_MS) {
        files_nap();
        status = gadget_write(gadget, LUN "/file", "\n");
    }
    return status;
}

static int unload_by_force(const struct kernel_gadget *gadget)
{
    int status = gadget_write(gadget, LUN "/forced_eject", "1"); /* Linux 6.0 */
    if (status == 0 && gadget_has(gadget, LUN "/file", ""))
        return 0;
    status = gadget_unbind(gadget);
    return status == 0 ? gadget_write(gadget, LUN "/file", "\n") : status;
}

int gadget_eject(const struct kernel_gadget *gadget, unsigned patience_ms, char error[KERNEL_ERROR_MAX])
{
    if (!gadget_exists(gadget))
        return 0;
    int status = unload_patiently(gadget, patience_ms);
    if (status == -EBUSY)
        status = unload_by_force(gadget);
    if (status != 0)
        return files_failed(error, status, "gadget %s: the medium can't be taken out: %s", gadget->name, strerror(-status));
    if (!gadget->always_present)
        status = gadget_unbind(gadget);
    else if (!is_bound(gadget))
        return gadget_bind(gadget, error);
    return status == 0 ? 0 : files_failed(error, status, "gadget %s: UDC: %s", gadget->name, strerror(-status));
}

bool gadget_is_empty(const struct kernel_gadget *gadget)
{
    return gadget_has(gadget, LUN "/file", "");
}
