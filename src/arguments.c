#include "arguments.h"

#include <build-config.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "helper/helper.h"
#include "net/tls.h"
#include "slot/pipeline.h"

#define DEFAULT_CONFIG SYSCONFDIR "/nbd-proxy.conf"
#define EXIT_USAGE     2

/* --- the command line --- */

enum long_option { OPT_NO_CONFIG = 256, OPT_SET, OPT_CHECK, OPT_DUMP, OPT_SAMPLE, OPT_METADATA, OPT_HELPER, OPT_SERVE_HELPER };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"no-config", no_argument, NULL, OPT_NO_CONFIG},
    {"set", required_argument, NULL, OPT_SET},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"dump-config", no_argument, NULL, OPT_DUMP},
    {"sample-config", no_argument, NULL, OPT_SAMPLE},
    {"metadata", no_argument, NULL, OPT_METADATA},
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

static void arguments_print_help(void)
{
    puts("usage: nbd-proxy [OPTION]...\n"
         "       nbd-proxy [OPTION]... MEDIA\n"
         "       nbd-proxy passwd [OPTION]... NAME\n"
         "       nbd-proxy ctl [OPTION]... [COMMAND [WORD]...]\n"
         "       nbd-proxy doctor [OPTION]... [URL]...\n"
         "Serves disk images as virtual media over NBD. passwd keeps its accounts; ctl gives\n"
         "the running daemon a command (as does nbd-proxyctl); doctor looks whether all is\n"
         "there that the daemon needs, and says what to do. With a\n"
         "slot's name or number the running daemon is given stdin and stdout, behind which\n"
         "is an NBD server: so a stock bmcweb starts it for a browser's file.\n\n"
         "  -c, --config=FILE             the configuration (" DEFAULT_CONFIG ")\n"
         "      --no-config               no file: two slots with the defaults\n"
         "      --set=SECTION.KEY=VALUE   sets a key: daemon.KEY, web.KEY, dbus.KEY,\n"
         "                                host.KEY, http.KEY, credentials.NAME.KEY,\n"
         "                                slot.NAME.KEY\n"
         "      --check-config            checks the configuration and exits\n"
         "      --dump-config             prints the configuration in force and exits\n"
         "      --sample-config           prints a commented sample and exits\n"
         "      --metadata                prints the slots as JSON and exits\n"
         "      --helper=SOCKET           what needs rights is done by who listens there\n"
         "      --serve-helper            is that; the daemon's connection is stdin\n"
         "  -V, --version                 prints the version and exits\n"
         "  -h, --help                    prints this and exits\n\n"
         "See nbd-proxy(8), nbd-proxy.conf(5) and nbd-proxy-control(7).");
}

static int arguments_usage_error(const char *text)
{
    fprintf(stderr, "nbd-proxy: %s (try: nbd-proxy --help)\n", text);
    return EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int arguments_parse_option(struct arguments *a, int letter)
{
    switch (letter) {
    case 'c':
        a->file = optarg;
        return -1;
    case OPT_NO_CONFIG:
        a->file = NULL;
        return -1;
    case OPT_SET:
        if (a->set_count == ARGUMENTS_SETS_MAX)
            return arguments_usage_error("there are too many --set");
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
    case OPT_METADATA:
        a->metadata = true;
        return -1;
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
        arguments_print_help();
        return EXIT_SUCCESS;
    default:
        return arguments_usage_error("unknown option");
    }
}

static int arguments_parse(struct arguments *a, int argc, char **argv)
{
    int letter;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "c:Vh", long_options, NULL)) != -1) {
        int code = arguments_parse_option(a, letter);
        if (code >= 0)
            return code;
    }
    a->media = argv[optind];
    if (a->media && (strcmp(a->media, "ctl") == 0 || strcmp(a->media, "doctor") == 0 || strcmp(a->media, "passwd") == 0))
        return arguments_usage_error("ctl, doctor and passwd come first, before their options");
    if (optind + 1 < argc)
        return arguments_usage_error("it takes one MEDIA beside options");
    if (a->media && (a->check || a->dump || a->metadata || a->helper || a->serve_helper))
        return arguments_usage_error("MEDIA goes with --config, --no-config and --set only");
    return -1;
}

void arguments_hide_sets(struct arguments *a)
{
    for (unsigned i = 0; i < a->set_count; i++) {
        char *given = (char *)(uintptr_t)a->sets[i];
        a->sets[i] = mem_strdup(given);
        char *value = strchr(given, '=');
        for (char *p = value ? value + 1 : given; *p; p++)
            *p = '*';
    }
}

int arguments_read(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){.file = DEFAULT_CONFIG};
    int code = arguments_parse(a, argc, argv);
    if (code < 0)
        arguments_hide_sets(a);
    return code;
}

void arguments_clear(struct arguments *a)
{
    for (unsigned i = 0; i < a->set_count; i++)
        mem_free_secret((char *)(uintptr_t)a->sets[i]);
    a->set_count = 0;
}

/* --- the configuration --- */

struct host_options arguments_host(const struct config *config)
{
    return (struct host_options){
        .hook = config->host.hook,
        .dbus = config->host.dbus,
        .timeout_ms = config->host.timeout_ms,
        .start = helper_start_hook,
    };
}

static bool arguments_check_host(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct host_options options = arguments_host(config);
    char problem[HOST_ERROR_MAX];
    bool good = host_check(&options, problem);
    if (!good)
        snprintf(error, CONFIG_ERROR_MAX, "host: %.500s", problem);
    return good;
}

/* By what the web server will load them with. */
static bool arguments_check_certificate(const struct config_web *web, char error[CONFIG_ERROR_MAX])
{
    struct tls_options options = {
        .certificate = web->certificate,
        .key = *web->certificate_key ? web->certificate_key : web->certificate,
        .client_ca = *web->client_ca ? web->client_ca : NULL,
        .client_required = web->client_certificates == CLIENT_CERTIFICATES_REQUIRED,
    };
    char problem[CONFIG_ERROR_MAX];
    struct tls_context *context = *web->certificate ? tls_context_new(&options, problem, sizeof problem) : NULL;
    bool good = context || !*web->certificate;
    if (!good)
        snprintf(error, CONFIG_ERROR_MAX, "web: certificate: %.480s", problem);
    tls_context_free(context);
    return good;
}

int arguments_configure(const struct arguments *arguments, struct config *config, char error[CONFIG_ERROR_MAX])
{
    if (!arguments->file)
        config_default(config);
    else if (config_load(config, arguments->file, arguments->check, error) != 0)
        return -1;
    for (unsigned i = 0; i < arguments->set_count; i++)
        if (config_set(config, arguments->sets[i], error) != 0)
            goto failed;
    if (config_validate(config, error) == 0 && arguments_check_host(config, error) &&
        (!arguments->check || arguments_check_certificate(&config->web, error)))
        return 0;
failed:
    config_free(config);
    return -1;
}
