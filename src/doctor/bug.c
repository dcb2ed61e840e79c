/* What a bug report asks for. See doctor/doctor.h. */
#include <build-config.h>
#include <curl/curl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <uv.h>

#include "api/json.h"
#include "base/text.h"
#include "doctor/doctor.h"
#include "slot/pipeline.h"

static void bug_add(json_t *report, const char *name, const char *text)
{
    json_object_set_new(report, name, api_text(text));
}

static void bug_add_build(json_t *report)
{
    static const char *const parts[] = {
#ifdef HAVE_SYSTEMD
        "systemd",
#endif
#ifdef HAVE_DBUS
        "dbus",
#endif
#ifdef HAVE_SECCOMP
        "seccomp",
#endif
#ifdef HAVE_PAM
        "pam",
#endif
        NULL};
    char text[512] = "";
    size_t used = 0;
    for (int kind = LOCATION_HTTPS; kind <= LOCATION_SMB; kind++)
        if (pipeline_has(kind))
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "", location_name(kind));
    bug_add(report, "protocols", text);
    *text = '\0';
    used = 0;
    for (unsigned i = 0; parts[i]; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "", parts[i]);
    bug_add(report, "built with", text);
    snprintf(text, sizeof text, "%s; %s; libuv %s; jansson %s", curl_version(), OpenSSL_version(OPENSSL_VERSION), uv_version_string(),
             jansson_version_str());
    bug_add(report, "libraries", text);
}

static void bug_add_system(json_t *report)
{
    struct utsname kernel;
    char text[sizeof kernel + 8], line[256];
    uname(&kernel);
    snprintf(text, sizeof text, "%s %s %s %s", kernel.sysname, kernel.release, kernel.version, kernel.machine);
    bug_add(report, "kernel", text);
    FILE *in = fopen("/etc/os-release", "re");
    while (in && fgets(line, sizeof line, in))
        if (strncmp(line, "PRETTY_NAME=", 12) == 0) {
            line[strcspn(line, "\n")] = '\0';
            bug_add(report, "system", line + 12);
        }
    if (in)
        fclose(in);
}

/* --- the configuration: what is not as it is by itself --- */

static char *dump_of(const struct config *config)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        mem_exhausted();
    config_dump(config, out);
    if (fclose(out) != 0)
        mem_exhausted();
    return text;
}

/* A URL's query may be a secret too, and so may what JSON has of a machine. */
static bool may_hide(const char *line, size_t key)
{
    static const char *const names[] = {"image", "config", "image-files", "network-data"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) + 1 == key && strncmp(line, names[i], key - 1) == 0)
            return true;
    return false;
}

static void write_line(FILE *out, const char *line)
{
    size_t key = strcspn(line, "=");
    char shown[512] = "{...}";
    if (!line[key] || !may_hide(line, key)) {
        fprintf(out, "%s\n", line);
        return;
    }
    const char *value = line + key + 2;
    value += *value == '"'; /* config_dump() quotes what a comment would begin in */
    if (*value != '{')
        text_url_public(value, shown, sizeof shown);
    fprintf(out, "%.*s= %s\n", (int)key, line, shown);
}

static bool has_line(const char *text, const char *line)
{
    size_t length = strlen(line);
    const char *at = text;
    while ((at = strstr(at, line)) && ((at > text && at[-1] != '\n') || at[length] != '\n'))
        at++;
    return at;
}

static void bug_add_config(json_t *report, const struct config *config)
{
    struct config standard;
    char *text, *rest, *now = dump_of(config);
    size_t size;
    config_default(&standard);
    char *before = dump_of(&standard);
    FILE *out = open_memstream(&text, &size);
    if (!out)
        mem_exhausted();
    for (char *line = strtok_r(now, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (*line == '[' || !has_line(before, line)) /* what is below a section's head is of no use without it */
            write_line(out, line);
    if (fclose(out) != 0)
        mem_exhausted();
    bug_add(report, "configuration", text);
    mem_free(text);
    mem_free_secret(now);
    mem_free_secret(before);
    config_free(&standard);
}

json_t *doctor_report(const struct config *config)
{
    json_t *report = json_object();
    bug_add(report, "version", PACKAGE_VERSION);
    bug_add_build(report);
    bug_add_system(report);
    if (config)
        bug_add_config(report, config);
    return report;
}
