/*
 * nbd-proxy: its parts, from a start over reloads to the end. What the daemon is told is in arguments.h, and what
 * becomes of the rights in daemon_rights.h.
 */
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#include "api/bmcweb/dbus.h"
#include "api/control/control.h"
#include "api/power_watch.h"
#include "api/status.h"
#include "api/web/web.h"
#include "arguments.h"
#include "auth/passwd.h"
#include "base/bytes.h"
#include "base/closing.h"
#include "base/defer.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/wipe.h"
#include "base/work.h"
#include "ctl/ctl.h"
#include "daemon_rights.h"
#include "doctor_command.h"
#include "hand_over.h"
#include "helper/helper.h"
#include "host/host.h"
#include "net/group.h"
#include "net/tcp_listener.h"
#include "slot/slots.h"

#define POOL_SPARE 8 /* threads beside one a slot, see base/work.h: files, two passwords, an account, uploads */

struct daemon {
    const struct arguments *arguments;
    uv_loop_t loop;
    struct config config;
    struct rights_user user; /* the user as whom the daemon serves */
    struct host *host;
    struct slots *slots;
    struct power_watch *power;
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

static int reload_into(struct daemon *d, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    if (strcmp(config->runtime_dir, d->config.runtime_dir) != 0 || strcmp(config->user, d->config.user) != 0) {
        snprintf(error, CONFIG_ERROR_MAX, "runtime-dir and user can't change while the daemon runs (restart it)");
        return -1;
    }
    /* Each part is all or nothing. When one fails, those before it are undone. */
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
    if (arguments_configure(d->arguments, &config, error) != 0)
        return -1;
    if (reload_into(d, &config, error) != 0) {
        config_free(&config);
        return -1;
    }
    struct host_options options = arguments_host(&config);
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
    d->closing = 4 + (d->web != NULL) + (d->dbus != NULL);
    power_watch_close(d->power, on_part_closed, d);
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
static void on_main_kept(void *arg)
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
    slots_keep(d->slots, on_main_kept, d);
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
    mallopt(M_MMAP_THRESHOLD, BYTES_MAPPED); /* base/bytes.h says why */
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

/* What is opened next must not be where stdout and stderr are expected, if whoever started us has closed them. */
static void fill_standard(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
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

/* Libraries get their memory from us, to be wiped like ours. They must be told before their first use; curl is told
 * where it is used. */
static void share_memory(void)
{
    json_set_alloc_funcs(wipe_malloc, wipe_free);
    uv_replace_allocator(wipe_malloc, wipe_realloc, wipe_calloc, wipe_free);
    if (CRYPTO_set_mem_functions(on_crypto_malloc, on_crypto_realloc, on_crypto_free) != 1)
        log_warning("nbd-proxy", "OpenSSL keeps its own memory functions");
}

/* What needs the configuration, but is not the daemon. -1: it is to serve. */
static int main_answer(const struct arguments *arguments, const struct config *config)
{
    if (arguments->dump)
        config_dump(config, stdout);
    else if (arguments->metadata)
        hand_over_print_metadata(config);
    else if (arguments->media)
        return hand_over(arguments->media, config);
    return arguments->dump || arguments->metadata || arguments->check ? EXIT_SUCCESS : -1;
}

static void main_ignore_closed(void *arg)
{
    (void)arg;
}

static void main_machine_tells(void *arg, struct seed_facts *facts)
{
    const struct host *host = arg;
    const struct host_state *state = host_get_state(host);
    const struct seed_wish told = {.serial = state->serial, .uuid = state->uuid, .mac = state->mac};
    seed_wish_facts(&told, facts);
    facts->pending = host_is_configured(host) && !state->known && state->status == 0;
}

/* The web server comes last, and only if all others are there: it takes over what was handed to the process. */
static bool main_start(struct daemon *d, char error[CONFIG_ERROR_MAX])
{
    struct control_hooks hooks = {.reload = on_reload, .quit = stop, .keep = stop_keeping, .arg = d};
    struct host_options options = arguments_host(&d->config);
    int fds = activation_fds();
    d->host = host_new(&d->loop, &options);
    d->slots = slots_new(&d->loop, &d->config, &helper_kernel, error);
    if (d->slots)
        slots_set_machine(d->slots, main_machine_tells, d->host);
    d->control = d->slots ? control_new(&d->loop, &d->config, d->slots, d->host, &hooks, error) : NULL;
    bool on_bus = d->control && dbus_is_wanted(&d->config);
    d->dbus = on_bus ? dbus_new(&d->loop, &d->config, d->slots, error) : NULL;
    bool ready = d->control && (d->dbus || !on_bus);
    bool wanted = ready && web_is_wanted(&d->config, fds);
    d->web = wanted ? web_new(&d->loop, &d->config, d->slots, d->host, fds, error) : NULL;
    if (ready && (d->web || !wanted)) {
        d->power = power_watch_new(&d->loop, d->slots, d->host);
        return true;
    }
    if (d->dbus)
        dbus_close(d->dbus, main_ignore_closed, NULL);
    if (d->control)
        control_close(d->control, main_ignore_closed, NULL);
    if (d->slots)
        slots_close(d->slots, main_ignore_closed, NULL);
    host_close(d->host, main_ignore_closed, NULL);
    return false;
}

static char *main_status_line(void *arg)
{
    struct daemon *d = arg;
    return status_line(d->slots);
}

static int main_serve(struct daemon *d)
{
    char error[CONFIG_ERROR_MAX];
    work_begin(&d->loop, CONFIG_SLOTS_MAX + POOL_SPARE);
    work_each(&d->loop, rights_drop_thread);
    defer_init(&d->loop);
    daemon_rights_use_helper(&d->loop);
    defer_setup(&d->stop, on_stop);
    watch_signals(d);
    if (!main_start(d, error)) {
        fprintf(stderr, "nbd-proxy: %s\n", error);
        d->stopping = true; /* a signal meanwhile ends the process at once */
        uv_run(&d->loop, UV_RUN_DEFAULT);
        host_free(d->host);
        return EXIT_FAILURE;
    }
    group_settle();
    daemon_rights_drop(d->arguments, &d->user);
    notify_ready(&d->loop, main_status_line, d);
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

/* What is not the daemon, and knows its own options: by the first word, or by the name that the program was started by.
 * -1: it is none of them. */
static int main_command(int argc, char **argv)
{
    static const struct {
        const char *word, *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"ctl", CTL_PROGRAM, ctl_command}, {"passwd", NULL, passwd_command}, {"doctor", NULL, doctor_command}};
    const char *name = argc > 0 && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argc > 0 ? argv[0] : "";
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        int skipped = commands[i].name && strcmp(name, commands[i].name) == 0 ? 0 : 1;
        if (skipped && (argc < 2 || strcmp(argv[1], commands[i].word) != 0))
            continue;
        harden();
        share_memory();
        return commands[i].run(argc - skipped, argv + skipped);
    }
    return -1;
}

int main(int argc, char **argv)
{
    static struct daemon d;
    struct arguments arguments;
    char error[CONFIG_ERROR_MAX];
    fill_standard();
    int code = main_command(argc, argv);
    if (code >= 0)
        return code;
    code = arguments_read(&arguments, argc, argv);
    if (code >= 0)
        return code;
    harden();
    share_memory();
    bound_memory();
    d.arguments = &arguments;
    if (arguments_configure(&arguments, &d.config, error) != 0) {
        if (arguments.media)
            hand_over_say("%s", error);
        else
            fprintf(stderr, "nbd-proxy: %s\n", error);
        code = EX_CONFIG;
    } else if ((code = main_answer(&arguments, &d.config)) >= 0) {
        config_free(&d.config);
    } else {
        log_setup((enum log_target)d.config.log_target, (enum log_level)d.config.log_level);
        if (arguments.serve_helper)
            daemon_rights_serve(&arguments, &d.config);
        code = daemon_rights_part(&arguments, &d.config, &d.user) ? main_serve(&d) : EXIT_FAILURE;
        helper_end();
    }
    arguments_clear(&arguments);
    return code;
}
