/* The ways into the daemon. See doctor/doctor.h. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/control/control.h"
#include "api/web/internal.h"
#include "auth/users_file.h"
#include "base/text.h"
#include "ctl/ctl_connection.h"
#include "doctor/doctor.h"
#include "net/tcp_listener.h"
#include "net/tls.h"

#define DAY (24 * 3600)

/* Whether the daemon runs. */
static bool look_at_control(struct findings *findings, const struct config *config)
{
    struct ctl_connection connection = {.fd = -1};
    char error[CTL_ERROR_MAX], *path = control_socket_path(config);
    snprintf(connection.path, sizeof connection.path, "%s", path);
    bool runs = ctl_connect(&connection, error);
    if (runs)
        findings_say(findings, FINDING_GOOD, "daemon", NULL, "it runs, and its control socket is %s", path);
    else
        findings_say(findings, FINDING_NOTE, "daemon", NULL, "it does not run: nothing answers at %s", path);
    ctl_disconnect(&connection);
    mem_free(path);
    return runs;
}

/* --- addresses --- */

/* 0, or why the address can't be listened on. */
static int bind_problem(const struct sockaddr_storage *address)
{
    static const int yes = 1;
    socklen_t size = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int status = bind(fd, (const struct sockaddr *)address, size) == 0 && listen(fd, 1) == 0 ? 0 : -errno;
    close(fd);
    return status;
}

static void look_at_address(struct findings *findings, const char *text, bool runs)
{
    struct sockaddr_storage address;
    if (!tcp_address_parse(text, &address)) /* a UNIX socket; what is no address --check-config has said */
        return;
    int status = bind_problem(&address);
    if (status == 0)
        findings_say(findings, runs ? FINDING_DOUBT : FINDING_GOOD, "ports", runs ? "restart the daemon: it was started with others" : NULL,
                     "%s is free", text);
    else if (status == -EADDRINUSE && runs)
        findings_say(findings, FINDING_GOOD, "ports", NULL, "%s is in use, as it is to be while the daemon runs", text);
    else if (status == -EADDRINUSE)
        findings_say(findings, FINDING_BAD, "ports", "ss -ltnp says whose it is; choose another port, or end that",
                     "%s is in use by another program", text);
    else if (status == -EACCES)
        findings_say(findings, FINDING_DOUBT, "ports", "start it as root, or use nbd-proxy.socket", "%s: ports below 1024 need rights", text);
    else
        findings_say(findings, FINDING_DOUBT, "ports", "ip address shows those that this machine has", "%s: %s", text, strerror(-status));
}

static void look_at_addresses(struct findings *findings, const char *list, bool runs)
{
    char *copy = mem_strdup(list), *rest;
    for (char *word = strtok_r(copy, " ,\t", &rest); word; word = strtok_r(NULL, " ,\t", &rest))
        look_at_address(findings, word, runs);
    mem_free(copy);
}

/* --- the certificate --- */

static void look_at_dates(struct findings *findings, const struct tls_context *context, const char *path, bool own)
{
    char date[32], due[TLS_DUE_MAX] = "";
    time_t ends = tls_context_expires(context), left = ends - time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%d", gmtime_r(&ends, &utc));
    if (own)
        tls_self_signed_due(context, due);
    if (left <= 0)
        findings_say(findings, own ? FINDING_DOUBT : FINDING_BAD, "certificate", own ? "the daemon makes it anew at its next start" : "renew it",
                     "%s has ended on %s", path, date);
    else if (left < TLS_RENEW_DAYS * DAY)
        findings_say(findings, FINDING_DOUBT, "certificate", own ? "the daemon makes it anew at its next start" : "renew it",
                     "%s ends on %s", path, date);
    else if (*due)
        findings_say(findings, FINDING_DOUBT, "certificate", "the daemon makes it anew", "%s: %s", path, due);
    else
        findings_say(findings, FINDING_GOOD, "certificate", NULL, "%s is good until %s", path, date);
}

static void look_at_names(struct findings *findings, const struct tls_context *context)
{
    char names[TLS_NAMES_MAX], host[256] = "";
    bool ours = tls_context_names(context, gethostname(host, sizeof host - 1) == 0 ? host : "", names);
    findings_say(findings, ours ? FINDING_GOOD : FINDING_DOUBT, "certificate",
                 ours ? NULL : "clients refuse it by a name that it does not have: one with the names they use", "it is for %s%s%s",
                 *names ? names : "nobody", ours ? "" : ", and this machine is ", ours ? "" : host);
}

static void look_at_certificate(struct findings *findings, const struct config_web *config)
{
    bool own = !*config->certificate;
    char *certificate = own ? web_beside_users(config, "certificate.pem") : mem_strdup(config->certificate);
    char *key = own ? web_beside_users(config, "key.pem") : mem_strdup(*config->certificate_key ? config->certificate_key : certificate);
    char error[CONFIG_ERROR_MAX];
    const struct tls_options options = {.certificate = certificate, .key = key};
    if (own && access(certificate, F_OK) != 0) {
        findings_say(findings, FINDING_NOTE, "certificate", NULL, "there is none yet: the daemon makes %s at its start", certificate);
    } else {
        struct tls_context *context = tls_context_new(&options, error, sizeof error);
        if (context) {
            look_at_dates(findings, context, certificate, own);
            look_at_names(findings, context);
        } else {
            findings_fail(findings, FINDING_BAD, "certificate", error);
        }
        tls_context_free(context);
    }
    mem_free(certificate);
    mem_free(key);
}

static void look_at_accounts(struct findings *findings, const struct config_web *config)
{
    struct users_table table;
    char error[USERS_ERROR_MAX], *path = web_users_path(config);
    int status = users_load(path, &table, error);
    if (status != 0 && status != -ENOENT)
        findings_fail(findings, FINDING_BAD, "accounts", error);
    else if (table.count == 0 && !(config->accounts & ACCOUNTS_PAM))
        findings_say(findings, FINDING_BAD, "accounts", "nbd-proxy passwd NAME", "%s has none, so nobody can log in at the page", path);
    else
        findings_say(findings, FINDING_GOOD, "accounts", NULL, "%u in %s%s", table.count, path,
                     config->accounts & ACCOUNTS_PAM ? ", and the system's" : "");
    users_table_free(&table);
    mem_free(path);
}

void doctor_doors(struct findings *findings, const struct config *config)
{
    bool runs = look_at_control(findings, config);
    if (!*config->web.listen && !*config->web.listen_plain) {
        findings_say(findings, FINDING_NOTE, "ports", NULL, "listen is not set: the page and Redfish are served only if systemd hands over a "
                     "socket");
        return;
    }
    look_at_addresses(findings, config->web.listen, runs);
    look_at_addresses(findings, config->web.listen_plain, runs);
    if (*config->web.listen)
        look_at_certificate(findings, &config->web);
    look_at_accounts(findings, &config->web);
}
