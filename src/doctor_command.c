#include "doctor_command.h"

#include <build-config.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "base/log.h"
#include "doctor/doctor.h"

#define DOCTOR_CONFIG SYSCONFDIR "/nbd-proxy.conf"
#define EXIT_USAGE    2

enum doctor_option { OPT_NO_CONFIG = 256, OPT_SET, OPT_JSON };

static const struct option doctor_options[] = {
    {"config", required_argument, NULL, 'c'}, {"no-config", no_argument, NULL, OPT_NO_CONFIG},
    {"set", required_argument, NULL, OPT_SET}, {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},          {0},
};

static void doctor_print_help(void)
{
    puts("usage: nbd-proxy doctor [OPTION]... [URL]...\n"
         "Looks whether all is there that the daemon needs: the configuration and what it\n"
         "names, the kernel's modules, rights, clock, memory, addresses, certificates, and\n"
         "the images that are configured, or URL. It says what to do about each trouble, and\n"
         "what a bug report asks for. It changes nothing.\n\n"
         "  -c, --config=FILE             the configuration (" DOCTOR_CONFIG ")\n"
         "      --no-config               no file: two slots with the defaults\n"
         "      --set=SECTION.KEY=VALUE   sets a key\n"
         "      --json                    prints JSON\n"
         "  -h, --help                    prints this and exits");
}

static int doctor_usage_error(const char *text)
{
    fprintf(stderr, "nbd-proxy doctor: %s (try: nbd-proxy doctor --help)\n", text);
    return EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int doctor_take_option(struct arguments *a, bool *json, int letter)
{
    switch (letter) {
    case 'c':
    case OPT_NO_CONFIG:
        a->file = letter == 'c' ? optarg : NULL;
        return -1;
    case OPT_SET:
        if (a->set_count == ARGUMENTS_SETS_MAX)
            return doctor_usage_error("there are too many --set");
        a->sets[a->set_count++] = optarg;
        return -1;
    case OPT_JSON:
        *json = true;
        return -1;
    case 'h':
        doctor_print_help();
        return EXIT_SUCCESS;
    default:
        return doctor_usage_error("unknown option, or one without its value");
    }
}

static void doctor_look(const struct arguments *a, struct findings *findings, char *const *urls)
{
    struct config config;
    char error[CONFIG_ERROR_MAX];
    bool good = arguments_configure(a, &config, error) == 0;
    if (good)
        findings_say(findings, FINDING_GOOD, "configuration", NULL, "%s is good", a->file ? a->file : "that of the defaults");
    else if (a->file && access(a->file, F_OK) != 0)
        findings_say(findings, FINDING_BAD, "configuration", "nbd-proxy --sample-config shows one; -c FILE names another, --no-config none",
                     "%s", error);
    else
        findings_fail(findings, FINDING_BAD, "configuration", error);
    if (!good) /* the machine is looked at all the same */
        config_default(&config);
    doctor_machine(findings, &config);
    if (good)
        doctor_doors(findings, &config);
    doctor_sources(findings, &config, urls);
    findings_end(findings, doctor_report(good ? &config : NULL));
    config_free(&config);
}

int doctor_command(int argc, char **argv)
{
    struct arguments a = {.file = DOCTOR_CONFIG, .check = true};
    struct findings findings;
    bool json = false;
    int letter;
    opterr = 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, "c:h", doctor_options, NULL)) != -1) {
        int code = doctor_take_option(&a, &json, letter);
        if (code >= 0)
            return code;
    }
    arguments_hide_sets(&a);
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
    findings_init(&findings, json);
    doctor_look(&a, &findings, argv + optind);
    arguments_clear(&a);
    return findings.bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
