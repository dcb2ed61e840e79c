/* nbd-proxy: arguments, configuration, build everything, run the loop. */
#include <build-config.h>
#include <getopt.h>
#include <jansson.h>
#include <libgen.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#include "api/bmcweb/dbus.h"
#include "api/control/control.h"
#include "api/web/web.h"
#include "auth/pam.h"
#include "auth/passwd.h"
#include "base/bytes.h"
#include "base/closing.h"
#include "base/defer.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/text.h"
#include "base/wipe.h"
#include "base/work.h"
#include "config/config.h"
#include "helper/filter.h"
#include "helper/helper.h"
#include "helper/rights.h"
#include "host/host.h"
#include "net/group.h"
#include "net/low_port.h"
#include "net/tcp_listener.h"
#include "slot/pipeline.h"
#include "slot/slots.h"

#define DEFAULT_CONFIG SYSCONFDIR "/nbd-proxy.conf"
#define EXIT_USAGE 2
#define SETS_MAX 64
#define POOL_SPARE 8 /* threads beside one a slot, see base/work.h: files, two passwords, an account, uploads */

struct arguments {
    const char *file; /* NULL: no file */
    const char *sets[SETS_MAX];
    unsigned set_count;
    const char *helper; /* the socket of one that is there; NULL: it is forked */
    bool check, dump, serve_helper;
};

struct daemon {
    const struct arguments *arguments;
    uv_loop_t loop;
    struct config config;
    struct rights_user user; /* who serves */
    struct host *host;
    struct slots *slots;
    struct control *control;
    struct web *web; /* NULL: there is none */
    struct dbus *dbus; /* NULL: there is none */
    unsigned closing; /* parts that are not closed yet */
    uv_signal_t on_term, on_int, on_hup, on_usr2;
    struct closing signals_closing;
    bool stopping;
    struct defer stop;
};

/* --- configuration --- */

static struct host_options host_options(const struct config *config)
{
    return (struct host_options){
        .hook = config->host.hook,
        .dbus = config->host.dbus,
        .timeout_ms = config->host.timeout_ms,
        .start = helper_start_hook,
    };
}

static bool check_host(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct host_options options = host_options(config);
    char problem[HOST_ERROR_MAX];
    bool good = host_check(&options, problem);
    if (!good)
        snprintf(error, CONFIG_ERROR_MAX, "host: %.500s", problem);
    return good;
}

static int main_configure(const struct arguments *arguments, struct config *config, char error[CONFIG_ERROR_MAX])
{
    if (!arguments->file)
        config_default(config);
    else if (config_load(config, arguments->file, error) != 0)
        return -1;
    for (unsigned i = 0; i < arguments->set_count; i++)
        if (config_set(config, arguments->sets[i], error) != 0)
            goto failed;
    if (config_validate(config, error) == 0 && check_host(config, error))
        return 0;
failed:
    config_free(config);
    return -1;
}

static int reload_into(struct daemon *d, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    if (strcmp(config->runtime_dir, d->config.runtime_dir) != 0 || strcmp(config->user, d->config.user) != 0) {
        snprintf(error, CONFIG_ERROR_MAX, "runtime-dir and user can't change while the daemon runs (restart it)");
        return -1;
    }
    /* Each part is all or nothing. What fails behind the first undoes those before it. */
    char ignored[CONFIG_ERROR_MAX];
    if (!d->web && web_is_wanted(config, 0)) {
        snprintf(error, CONFIG_ERROR_MAX, "a web server can't be added while the daemon runs (restart it)");
        return -1;
    }
    if (dbus_prepare(d->dbus, config, error) != 0)
        return -1;
    if (control_reload(d->control, config, error) != 0)
        return -1;
    if (d->web && web_reload(d->web, config, error) != 0) {
        control_reload(d->control, &d->config, ignored);
        return -1;
    }
    if (slots_reload(d->slots, config, error) == 0) {
        dbus_reload(d->dbus, config);
        return 0;
    }
    if (d->web)
        web_reload(d->web, &d->config, ignored);
    control_reload(d->control, &d->config, ignored);
    return -1;
}

static int reload(void *arg, char error[CONFIG_ERROR_MAX])
{
    struct daemon *d = arg;
    struct config config;
    if (d->stopping) {
        snprintf(error, CONFIG_ERROR_MAX, "the daemon is stopping");
        return -1;
    }
    if (main_configure(d->arguments, &config, error) != 0)
        return -1;
    if (reload_into(d, &config, error) != 0) {
        config_free(&config);
        return -1;
    }
    struct host_options options = host_options(&config);
    helper_reload();
    host_reload(d->host, &options);
    log_setup((enum log_target)config.log_target, (enum log_level)config.log_level);
    config_free(&d->config);
    d->config = config;
    log_notice("nbd-proxy", "configuration reloaded");
    return 0;
}

static int on_reload(void *arg, char error[CONFIG_ERROR_MAX])
{
    notify_reloading();
    int status = reload(arg, error);
    notify_reloaded();
    return status;
}

/* --- stopping --- */

static void on_signals_closed(struct closing *closing)
{
    struct daemon *d = container_of(closing, struct daemon, signals_closing);
    defer_close(&d->loop);
}

static void on_part_closed(void *arg)
{
    struct daemon *d = arg;
    if (--d->closing > 0)
        return;
    helper_unwatch();
    closing_begin(&d->signals_closing, &d->loop, on_signals_closed);
    closing_add(&d->signals_closing, (uv_handle_t *)&d->on_term);
    closing_add(&d->signals_closing, (uv_handle_t *)&d->on_int);
    closing_add(&d->signals_closing, (uv_handle_t *)&d->on_hup);
    closing_add(&d->signals_closing, (uv_handle_t *)&d->on_usr2);
    closing_end(&d->signals_closing);
}

static void on_stop(struct defer *defer)
{
    struct daemon *d = container_of(defer, struct daemon, stop);
    /* All at once: a command that waits for a slot is answered by the slot's end. */
    d->closing = 3 + (d->web != NULL) + (d->dbus != NULL);
    host_close(d->host, on_part_closed, d);
    control_close(d->control, on_part_closed, d);
    if (d->dbus)
        dbus_close(d->dbus, on_part_closed, d);
    if (d->web)
        web_close(d->web, on_part_closed, d);
    slots_close(d->slots, on_part_closed, d);
}

static void stop(void *arg)
{
    struct daemon *d = arg;
    if (d->stopping)
        return;
    d->stopping = true;
    log_notice("nbd-proxy", "stopping");
    notify_stopping();
    defer_schedule(&d->loop, &d->stop);
}

/* Nothing is taken down: the kernel keeps the host's reads until the next process
 * gives its devices new connections. */
static void on_kept(void *arg)
{
    (void)arg;
    log_notice("nbd-proxy", "stopped; the media stay in for the next start");
    _exit(EXIT_SUCCESS);
}

static int stop_keeping(void *arg, char error[CONFIG_ERROR_MAX])
{
    struct daemon *d = arg;
    if (d->stopping) {
        snprintf(error, CONFIG_ERROR_MAX, "the daemon is stopping");
        return -1;
    }
    if (!slots_may_keep(d->slots, error))
        return -1;
    d->stopping = true;
    notify_stopping();
    slots_keep(d->slots, on_kept, d);
    return 0;
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    if (d->stopping) {
        log_warning("nbd-proxy", "stopped at once by a second signal");
        _exit(128 + number);
    }
    stop(d);
}

static void on_reload_signal(uv_signal_t *handle, int number)
{
    char error[CONFIG_ERROR_MAX];
    (void)number;
    if (on_reload(handle->data, error) != 0)
        log_error("nbd-proxy", "nothing was changed: %s", error);
}

static void on_keep_signal(uv_signal_t *handle, int number)
{
    char error[CONFIG_ERROR_MAX];
    (void)number;
    if (stop_keeping(handle->data, error) != 0)
        log_error("nbd-proxy", "not stopped: %s", error);
}

/* --- starting --- */

static void watch_signal(struct daemon *d, uv_signal_t *handle, uv_signal_cb callback, int number)
{
    int status = uv_signal_init(&d->loop, handle);
    if (status == 0) {
        handle->data = d;
        status = uv_signal_start(handle, callback, number);
        uv_unref((uv_handle_t *)handle);
    }
    if (status == 0)
        return;
    fprintf(stderr, "nbd-proxy: signals can't be watched: %s\n", uv_strerror(status));
    exit(EX_OSERR); /* at the start: nothing is there that must be taken down */
}

static void watch_signals(struct daemon *d)
{
    watch_signal(d, &d->on_term, on_stop_signal, SIGTERM);
    watch_signal(d, &d->on_int, on_stop_signal, SIGINT);
    watch_signal(d, &d->on_hup, on_reload_signal, SIGHUP);
    watch_signal(d, &d->on_usr2, on_keep_signal, SIGUSR2);
}

static void bound_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, BYTES_MAPPED); /* there it says why */
    mallopt(M_ARENA_MAX, 2);
}

/* Files, core dumps and freed memory must not leak secrets; a client that goes is no signal. With a limit of 0 a
 * program in core_pattern would still be given the dump; with 1 the kernel makes none at all (core(5)). */
static void harden(void)
{
    struct rlimit least = {1, 1}, none = {0, 0};
    umask(077);
    if (setrlimit(RLIMIT_CORE, &least) != 0)
        setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
}

static void *on_crypto_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return wipe_malloc(size);
}

static void *on_crypto_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return wipe_realloc(old, size);
}

static void on_crypto_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    wipe_free(memory);
}

/* The libraries' memory is as ours. It must come before their first use; curl's is set where curl is. */
static void share_memory(void)
{
    json_set_alloc_funcs(wipe_malloc, wipe_free);
    uv_replace_allocator(wipe_malloc, wipe_realloc, wipe_calloc, wipe_free);
    if (CRYPTO_set_mem_functions(on_crypto_malloc, on_crypto_realloc, on_crypto_free) != 1)
        log_warning("nbd-proxy", "OpenSSL keeps its own memory functions");
}

static void main_ignore_closed(void *arg)
{
    (void)arg;
}

/* The web server last: it may have to be told that there is nobody to serve. */
static bool main_start(struct daemon *d, char error[CONFIG_ERROR_MAX])
{
    struct control_hooks hooks = {.reload = on_reload, .quit = stop, .keep = stop_keeping, .arg = d};
    struct host_options options = host_options(&d->config);
    int fds = activation_fds();
    d->host = host_new(&d->loop, &options);
    d->slots = slots_new(&d->loop, &d->config, &helper_kernel, error);
    d->control = d->slots ? control_new(&d->loop, &d->config, d->slots, d->host, &hooks, error) : NULL;
    bool on_bus = d->control && dbus_is_wanted(&d->config);
    d->dbus = on_bus ? dbus_new(&d->loop, &d->config, d->slots, error) : NULL;
    bool ready = d->control && (d->dbus || !on_bus);
    bool wanted = ready && web_is_wanted(&d->config, fds);
    d->web = wanted ? web_new(&d->loop, &d->config, d->slots, d->host, fds, error) : NULL;
    if (ready && (d->web || !wanted))
        return true;
    if (d->dbus)
        dbus_close(d->dbus, main_ignore_closed, NULL);
    if (d->control)
        control_close(d->control, main_ignore_closed, NULL);
    if (d->slots)
        slots_close(d->slots, main_ignore_closed, NULL);
    host_close(d->host, main_ignore_closed, NULL);
    return false;
}

/* --- rights: helper/helper.h --- */

static void fill_settings(const struct config *config, struct helper_settings *settings)
{
    snprintf(settings->hook, sizeof settings->hook, "%s", config->host.hook);
    dbus_proxy_folder(config, settings->bmcweb_folder, sizeof settings->bmcweb_folder);
}

/* In the helper: what the daemon's user could have written is not believed. */
static bool main_read_settings(struct helper_settings *settings, void *arg)
{
    struct daemon *d = arg;
    struct config config;
    struct stat st;
    char error[CONFIG_ERROR_MAX];
    const char *file = d->arguments->file;
    if (file && (stat(file, &st) != 0 || (st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & S_IWOTH)) {
        log_error("helper", "%s may be written by others than root: what it says of hook holds after a restart", file);
        return false;
    }
    if (main_configure(d->arguments, &config, error) != 0) {
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

/* Before any thread is there: the helper has our rights from here on, and we less. */
static bool part(struct daemon *d)
{
    struct helper_options helper = {.read = main_read_settings, .arg = d};
    char error[RIGHTS_ERROR_MAX];
    fill_settings(&d->config, &helper.settings);
    int status = filter_prepare();
    if (status != 0)
        snprintf(error, sizeof error, "the filter of system calls can't be made: %s", strerror(-status));
    else
        status = rights_find(d->config.user, &d->user, error);
    if (status == 0 && (status = helper_begin(&helper, d->arguments->helper)) != 0)
        snprintf(error, sizeof error, "the helper can't be %s: %s", d->arguments->helper ? "reached (see --helper)" : "started",
                 strerror(-status));
    if (status == 0) {
        give_folders(&d->user, &d->config, d->arguments->file);
        status = rights_become(&d->user, error);
    }
    if (status != 0)
        fprintf(stderr, "nbd-proxy: %s\n", error);
    return status == 0;
}

/* The kernel keeps the host's reads until a next daemon, with a helper of its own, gives its devices new connections. */
static void on_helper_lost(void *arg)
{
    (void)arg;
    log_error("nbd-proxy", "the helper has ended, so nothing can be inserted or ejected: this process ends too, and the "
                           "media stay in for the next start");
    _exit(EXIT_FAILURE);
}

/* As a process of its own. */
__attribute__((noreturn)) static void serve_helper(struct daemon *d)
{
    static struct helper_options helper = {.read = main_read_settings};
    helper.arg = d;
    fill_settings(&d->config, &helper.settings);
    helper_serve(STDIN_FILENO, &helper);
}

static void use_helper(struct daemon *d)
{
    helper_watch(&d->loop, on_helper_lost, d);
    low_port_ask_by(helper_low_port);
    pam_check_by(helper_check_password);
    dbus_connect_by(helper_connect_bmcweb);
}

/* All that a start opens is open. */
static void give_up_rights(const struct daemon *d)
{
    const char *file = d->arguments->file;
    rights_drop(&d->user);
    if (file && access(file, R_OK) != 0)
        log_warning("nbd-proxy", "%s can't be read any more, so a reload will fail (chgrp it to the daemon's group, chmod 640)", file);
}

static int main_serve(struct daemon *d)
{
    char error[CONFIG_ERROR_MAX];
    work_begin(&d->loop, CONFIG_SLOTS_MAX + POOL_SPARE);
    work_each(&d->loop, rights_drop_thread);
    defer_init(&d->loop);
    use_helper(d);
    defer_setup(&d->stop, on_stop);
    watch_signals(d);
    if (!main_start(d, error)) {
        fprintf(stderr, "nbd-proxy: %s\n", error);
        d->stopping = true; /* a signal meanwhile ends it at once */
        uv_run(&d->loop, UV_RUN_DEFAULT);
        host_free(d->host);
        return EXIT_FAILURE;
    }
    group_settle();
    give_up_rights(d);
    notify_ready(&d->loop);
    log_notice("nbd-proxy", "ready: %u slots, sockets in %s", slots_count(d->slots), d->config.runtime_dir);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    host_free(d->host);
    config_free(&d->config);
    if (uv_loop_close(&d->loop) != 0) {
        log_error("nbd-proxy", "a handle was left open");
        return EXIT_FAILURE;
    }
    log_notice("nbd-proxy", "stopped");
    return EXIT_SUCCESS;
}

/* --- arguments --- */

enum long_option { OPT_NO_CONFIG = 256, OPT_SET, OPT_CHECK, OPT_DUMP, OPT_SAMPLE, OPT_HELPER, OPT_SERVE_HELPER };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"no-config", no_argument, NULL, OPT_NO_CONFIG},
    {"set", required_argument, NULL, OPT_SET},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"dump-config", no_argument, NULL, OPT_DUMP},
    {"sample-config", no_argument, NULL, OPT_SAMPLE},
    {"helper", required_argument, NULL, OPT_HELPER},
    {"serve-helper", no_argument, NULL, OPT_SERVE_HELPER},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static void print_version(void)
{
    fputs("nbd-proxy " PACKAGE_VERSION "\nprotocols:", stdout);
    for (int kind = LOCATION_HTTPS; kind <= LOCATION_SMB; kind++)
        if (pipeline_has(kind))
            printf(" %s", location_name(kind));
    puts("");
}

static void main_print_help(void)
{
    puts("usage: nbd-proxy [OPTION]...\n"
         "       nbd-proxy passwd [OPTION]... NAME\n"
         "Serves disk images as virtual media over NBD; passwd keeps its accounts.\n\n"
         "  -c, --config=FILE             the configuration (" DEFAULT_CONFIG ")\n"
         "      --no-config               no file: two slots with the defaults\n"
         "      --set=SECTION.KEY=VALUE   sets a key: daemon.KEY, web.KEY, dbus.KEY,\n"
         "                                host.KEY, http.KEY, credentials.NAME.KEY,\n"
         "                                slot.NAME.KEY\n"
         "      --check-config            checks the configuration and exits\n"
         "      --dump-config             prints the configuration in force and exits\n"
         "      --sample-config           prints a commented sample and exits\n"
         "      --helper=SOCKET           what needs rights is done by who listens there\n"
         "      --serve-helper            is that; the daemon's connection is stdin\n"
         "  -V, --version                 prints the version and exits\n"
         "  -h, --help                    prints this and exits\n\n"
         "See nbd-proxy(8), nbd-proxy.conf(5) and nbd-proxy-control(7).");
}

static int main_usage_error(const char *text)
{
    fprintf(stderr, "nbd-proxy: %s (try: nbd-proxy --help)\n", text);
    return EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int main_parse_option(struct arguments *a, int letter)
{
    switch (letter) {
    case 'c':
        a->file = optarg;
        return -1;
    case OPT_NO_CONFIG:
        a->file = NULL;
        return -1;
    case OPT_SET:
        if (a->set_count == SETS_MAX)
            return main_usage_error("there are too many --set");
        a->sets[a->set_count++] = optarg;
        return -1;
    case OPT_CHECK:
        a->check = true;
        return -1;
    case OPT_DUMP:
        a->dump = true;
        return -1;
    case OPT_SAMPLE:
        config_sample(stdout);
        return EXIT_SUCCESS;
    case OPT_HELPER:
        a->helper = optarg;
        return -1;
    case OPT_SERVE_HELPER:
        a->serve_helper = true;
        return -1;
    case 'V':
        print_version();
        return EXIT_SUCCESS;
    case 'h':
        main_print_help();
        return EXIT_SUCCESS;
    default:
        return main_usage_error("unknown option");
    }
}

static int main_parse_arguments(struct arguments *a, int argc, char **argv)
{
    int letter;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
        int code = main_parse_option(a, letter);
        if (code >= 0)
            return code;
    }
    return optind < argc ? main_usage_error("it takes no arguments beside options") : -1;
}

/* Secrets given with --set should not stay in the process's argument list. */
static void hide_arguments(struct arguments *a)
{
    for (unsigned i = 0; i < a->set_count; i++) {
        char *given = (char *)(uintptr_t)a->sets[i];
        a->sets[i] = mem_strdup(given);
        char *value = strchr(given, '=');
        for (char *p = value ? value + 1 : given; *p; p++)
            *p = '*';
    }
}

int main(int argc, char **argv)
{
    static struct daemon d;
    struct arguments arguments = {.file = DEFAULT_CONFIG};
    char error[CONFIG_ERROR_MAX];
    if (argc > 1 && strcmp(argv[1], "passwd") == 0) {
        harden();
        share_memory();
        return passwd_command(argc - 1, argv + 1);
    }
    int code = main_parse_arguments(&arguments, argc, argv);
    if (code >= 0)
        return code;
    hide_arguments(&arguments);
    harden();
    share_memory();
    bound_memory();
    d.arguments = &arguments;
    code = EXIT_SUCCESS;
    if (main_configure(&arguments, &d.config, error) != 0) {
        fprintf(stderr, "nbd-proxy: %s\n", error);
        code = EX_CONFIG;
    } else if (arguments.dump) {
        config_dump(&d.config, stdout);
    } else if (!arguments.check) {
        log_setup((enum log_target)d.config.log_target, (enum log_level)d.config.log_level);
        if (arguments.serve_helper)
            serve_helper(&d);
        code = part(&d) ? main_serve(&d) : EXIT_FAILURE;
        helper_end();
    }
    if (arguments.dump || arguments.check)
        config_free(&d.config);
    for (unsigned i = 0; i < arguments.set_count; i++)
        mem_free_secret((char *)(uintptr_t)arguments.sets[i]);
    return code;
}
