#include "auth/audit.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define QUOTED_MAX (3 * AUDIT_FIELD_MAX + 4)

static const char *const words[] = {
    [AUDIT_LOGIN_OK] = "login ok",
    [AUDIT_LOGIN_FAILED] = "login failed",
    [AUDIT_LOGIN_LOCKED] = "login locked",
    [AUDIT_SESSION_BEGIN] = "session begins",
    [AUDIT_LOGOUT] = "logout",
    [AUDIT_SESSION_END] = "session ended",
    [AUDIT_USER] = "account changed",
    [AUDIT_INSERT] = "insert",
    [AUDIT_EJECT] = "eject",
    [AUDIT_DISMISS] = "dismiss",
    [AUDIT_UNVERIFIED] = "certificates unchecked",
    [AUDIT_RESET] = "host reset",
    [AUDIT_BOOT] = "host boot",
    [AUDIT_UPLOAD] = "upload",
    [AUDIT_DOWNLOAD] = "download",
    [AUDIT_DELETE] = "delete",
    [AUDIT_LOG] = "log level",
    [AUDIT_TRACE] = "trace",
    [AUDIT_RELOAD] = "reload",
    [AUDIT_QUIT] = "quit",
};

static void audit_quote(const char *text, char *out, size_t size)
{
    size_t used = 0;
    const char *end = text + strnlen(text, AUDIT_FIELD_MAX);
    /* The largest piece, "...", and the end must fit behind. */
    for (; text < end && used + 3 + 3 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c > 0x7e || c == '"' || c == '%' || c == '\\')
            used += (size_t)sprintf(out + used, "%%%02x", c);
        else
            out[used++] = (char)c;
    }
    snprintf(out + used, size - used, "%s", *text ? "..." : "");
}

static void audit_add(char *line, size_t size, const char *name, const char *value)
{
    char quoted[QUOTED_MAX];
    size_t used = strlen(line);
    if (!value)
        return;
    audit_quote(value, quoted, sizeof quoted);
    snprintf(line + used, size - used, " %s=\"%s\"", name, quoted);
}

void auth_audit(enum audit_event event, const char *user, const char *peer, const char *subject, const char *detail)
{
    char line[4 * (QUOTED_MAX + 16)] = "";
    audit_add(line, sizeof line, "user", user);
    audit_add(line, sizeof line, "peer", peer);
    audit_add(line, sizeof line, "subject", subject);
    audit_add(line, sizeof line, "detail", detail);
    log_notice("audit", "%s:%s", words[event], line);
}
