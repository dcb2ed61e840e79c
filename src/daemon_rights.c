#include "daemon_rights.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/bmcweb/dbus.h"
#include "api/web/web.h"
#include "auth/pam.h"
#include "auth/passwd.h"
#include "base/log.h"
#include "helper/filter.h"
#include "helper/helper.h"
#include "net/low_port.h"

static void fill_settings(const struct config *config, struct helper_settings *settings)
{
    snprintf(settings->hook, sizeof settings->hook, "%s", config->host.hook);
    dbus_proxy_folder(config, settings->bmcweb_folder, sizeof settings->bmcweb_folder);
    _Static_assert(HELPER_GADGETS_MAX >= CONFIG_SLOTS_MAX && KERNEL_NAME_MAX == CONFIG_GADGET_MAX, "each slot has a name");
    web_groups(&config->web, &settings->groups);
    for (unsigned i = 0; i < config->slot_count; i++)
        snprintf(settings->gadgets[i], sizeof settings->gadgets[i], "%s", config->slots[i].usb.gadget);
}

/* Runs in the helper, which does not believe a file that the daemon's user could have written. */
static bool read_settings(struct helper_settings *settings, void *arg)
{
    const struct arguments *arguments = arg;
    struct config config;
    struct stat st;
    char error[CONFIG_ERROR_MAX];
    const char *file = arguments->file;
    if (file && (stat(file, &st) != 0 || (st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & S_IWOTH)) {
        log_error("helper", "%s may be written by others than root: what it says of hook holds after a restart", file);
        return false;
    }
    if (arguments_configure(arguments, &config, error) != 0) {
        log_error("helper", "%s", error);
        return false;
    }
    fill_settings(&config, settings);
    config_free(&config);
    return true;
}

static void give_folders(const struct rights_user *user, const struct config *config, const char *file)
{
    char state[] = PASSWD_FILE;
    rights_give_folder(user, config->runtime_dir, file);
    rights_give_folder(user, dirname(state), file);
    if (*config->web.upload_directory)
        rights_give_folder(user, config->web.upload_directory, file);
    if (*config->web.users_file)
        rights_give_file(user, config->web.users_file);
}

bool daemon_rights_part(struct arguments *arguments, const struct config *config, struct rights_user *user)
{
    struct helper_options helper = {.read = read_settings, .arg = arguments};
    char error[RIGHTS_ERROR_MAX];
    fill_settings(config, &helper.settings);
    int status = filter_prepare();
    if (status != 0)
        snprintf(error, sizeof error, "the filter of system calls can't be made: %s", strerror(-status));
    else
        status = rights_find(config->user, user, error);
    if (status == 0 && (status = helper_begin(&helper, arguments->helper)) != 0)
        snprintf(error, sizeof error, "the helper can't be %s: %s",
                 arguments->helper ? "reached (see --helper)" : "started", strerror(-status));
    if (status == 0) {
        give_folders(user, config, arguments->file);
        status = rights_become(user, error);
    }
    if (status != 0)
        fprintf(stderr, "nbd-proxy: %s\n", error);
    return status == 0;
}

/* The kernel keeps the host's reads until a next daemon, with a helper of its own, gives its devices new connections.
 */
static void on_helper_lost(void *arg)
{
    (void)arg;
    log_error("nbd-proxy",
              "the helper has ended, so nothing can be inserted or ejected: this process ends too, and the "
              "media stay in for the next start");
    _exit(EXIT_FAILURE);
}

void daemon_rights_serve(struct arguments *arguments, const struct config *config)
{
    static struct helper_options helper = {.read = read_settings};
    helper.arg = arguments;
    fill_settings(config, &helper.settings);
    helper_serve(STDIN_FILENO, &helper);
}

void daemon_rights_use_helper(uv_loop_t *loop)
{
    helper_watch(loop, on_helper_lost, NULL);
    low_port_ask_by(helper_low_port);
    pam_check_by(helper_check_password, helper_look_at_accounts);
    dbus_connect_by(helper_connect_bmcweb);
}

void daemon_rights_drop(const struct arguments *arguments, const struct rights_user *user)
{
    const char *file = arguments->file;
    rights_drop(user);
    if (file && access(file, R_OK) != 0)
        log_warning("nbd-proxy",
                    "%s can't be read any more, so a reload will fail (chgrp it to the daemon's group, chmod 640)",
                    file);
}
