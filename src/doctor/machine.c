/* What the machine has. See doctor/doctor.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "doctor/doctor.h"
#include "helper/rights.h"
#include "kernel/kernel.h"

/* --- the kernel --- */

/* Whether one of the lines of a file of /lib/modules names the module. */
static bool module_is_listed(const char *file, const char *name)
{
    char path[256], line[1024], wanted[2][80];
    struct utsname kernel;
    bool found = false;
    uname(&kernel);
    snprintf(path, sizeof path, "/lib/modules/%.64s/%s", kernel.release, file);
    snprintf(wanted[0], sizeof wanted[0], "/%s.ko", name);
    FILE *in = fopen(path, "re");
    while (in && !found && fgets(line, sizeof line, in)) {
        line[strcspn(line, ":")] = '\0'; /* what stands behind it in modules.dep is what it needs */
        found = strstr(line, wanted[0]);
    }
    if (in)
        fclose(in);
    return found;
}

static const char *module_state(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/module/%s", name);
    if (access(path, F_OK) == 0 || module_is_listed("modules.builtin", name))
        return "there";
    return module_is_listed("modules.dep", name) ? "not loaded" : "missing";
}

/* What the slots want: "auto" takes what there is. */
static enum finding lack_of(const struct config *config, enum config_attach needed)
{
    enum finding worst = FINDING_NOTE;
    for (unsigned i = 0; i < config->slot_count; i++) {
        enum config_attach attach = config->slots[i].attach;
        if (attach == needed || (attach == ATTACH_USB && needed == ATTACH_NBD))
            return FINDING_BAD;
        if (attach == ATTACH_AUTO)
            worst = FINDING_DOUBT;
    }
    return worst;
}

static void look_for_module(struct findings *findings, const char *name, enum finding lack)
{
    char advice[128];
    const char *state = module_state(name);
    if (strcmp(state, "there") == 0) {
        findings_say(findings, FINDING_GOOD, "kernel", NULL, "%s is there", name);
        return;
    }
    if (strcmp(state, "missing") == 0)
        snprintf(advice, sizeof advice, "this kernel has no %s: it has to be built with it (see docs/openbmc.md)", name);
    else
        snprintf(advice, sizeof advice, "modprobe %s; packaging/modules-load.d does it at each boot", name);
    findings_say(findings, lack, "kernel", advice, "the module %s is %s", name, state);
}

static void look_at_check(struct findings *findings, const char *topic, int (*check)(char error[KERNEL_ERROR_MAX]), const char *good,
                          enum finding lack)
{
    char error[KERNEL_ERROR_MAX];
    if (check(error) == 0)
        findings_say(findings, FINDING_GOOD, topic, NULL, "%s", good);
    else
        findings_fail(findings, lack, topic, error);
}

static void look_at_kernel(struct findings *findings, const struct config *config)
{
    enum finding nbd = lack_of(config, ATTACH_NBD), usb = lack_of(config, ATTACH_USB);
    look_for_module(findings, "nbd", nbd);
    look_for_module(findings, "libcomposite", usb);
    look_for_module(findings, "usb_f_mass_storage", usb);
    look_at_check(findings, "kernel", kernel_has_gadget, "configfs has gadgets, and there is a USB device controller", usb);
    look_at_check(findings, "rights", kernel_may_nbd, "/dev/nbd may be used", nbd);
    look_at_check(findings, "rights", kernel_may_gadget, "gadgets may be made", usb);
}

/* --- rights --- */

static void look_at_user(struct findings *findings, const struct config *config)
{
    struct rights_user user;
    char error[RIGHTS_ERROR_MAX];
    if (rights_find(config->user, &user, error) != 0)
        findings_fail(findings, FINDING_BAD, "rights", error);
    else if (user.missing)
        findings_say(findings, FINDING_DOUBT, "rights", "adduser --system --group " RIGHTS_USER,
                     "there is no user " RIGHTS_USER ", so the daemon serves as root (without root's capabilities)");
    else if (user.other)
        findings_say(findings, FINDING_GOOD, "rights", NULL, "the daemon becomes the user %s", user.name);
    else
        findings_say(findings, FINDING_NOTE, "rights", NULL, "this is the user with uid %u: started like this the daemon has its rights",
                     (unsigned)geteuid());
}

static void look_at_folder(struct findings *findings, const char *key, const char *path)
{
    struct stat st;
    if (!*path)
        return;
    if (stat(path, &st) != 0)
        findings_say(findings, FINDING_DOUBT, "rights", "systemd-tmpfiles --create nbd-proxy.conf, or make it for the daemon's user",
                     "%s = %s: %s", key, path, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        findings_say(findings, FINDING_BAD, "rights", "name a folder", "%s = %s is no folder", key, path);
    else
        findings_say(findings, FINDING_GOOD, "rights", NULL, "%s = %s is there", key, path);
}

/* --- clock and memory --- */

static void look_at_clock(struct findings *findings)
{
    struct timex state = {0};
    struct stat program;
    char date[64];
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    if (stat("/proc/self/exe", &program) == 0 && now < program.st_mtime)
        findings_say(findings, FINDING_BAD, "clock", "set it (timedatectl set-ntp true): certificates are not valid yet by it",
                     "it is %s, which is before this program was installed", date);
    else if (adjtimex(&state) == TIME_ERROR)
        findings_say(findings, FINDING_DOUBT, "clock", "timedatectl set-ntp true: by a wrong clock certificates are not valid",
                     "it is %s, and no time server keeps it right", date);
    else
        findings_say(findings, FINDING_GOOD, "clock", NULL, "%s, kept right by a time server", date);
}

/* Bytes; 0: it is not told. */
static uint64_t memory_available(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *in = fopen("/proc/meminfo", "re");
    while (in && fgets(line, sizeof line, in))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    if (in)
        fclose(in);
    return kib << 10;
}

static void look_at_memory(struct findings *findings, const struct config *config)
{
    char has[TEXT_SIZE_MAX], wants[TEXT_SIZE_MAX];
    uint64_t available = memory_available();
    text_human_size(available, has);
    text_human_size(config->cache_size, wants);
    if (available && config->cache_size > available / 2)
        findings_say(findings, config->cache_size > available ? FINDING_BAD : FINDING_DOUBT, "memory",
                     "a smaller cache-size, as 16M, does too", "%s is available, and cache-size is %s", has, wants);
    else
        findings_say(findings, FINDING_GOOD, "memory", NULL, "%s is available, cache-size is %s", has, wants);
}

void doctor_machine(struct findings *findings, const struct config *config)
{
    look_at_kernel(findings, config);
    look_at_user(findings, config);
    look_at_folder(findings, "runtime-dir", config->runtime_dir);
    look_at_folder(findings, "upload-directory", config->web.upload_directory);
    look_at_clock(findings);
    look_at_memory(findings, config);
}
