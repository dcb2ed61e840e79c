#include "remote/smb/url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define SCHEME "smb://"

/* UTF-8 without control characters, and without what Windows and Samba take for a separator. */
static bool is_name(const char *text)
{
    uint32_t code;
    while (*text) {
        size_t n = text_character(text, &code);
        if (n == 0 || code < 0x20 || code == 0x7f || code == '\\')
            return false;
        text += n;
    }
    return true;
}

/* Folders like "." and ".." and "" between two '/'. */
static bool has_odd_folder(const char *path)
{
    for (;;) {
        size_t n = strcspn(path, "/");
        if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        if (!path[n])
            return false;
        path += n + 1;
    }
}

static bool smb_url_parse_port(const char *text, uint16_t *port)
{
    uint64_t value = SMB_URL_PORT;
    if (*text == ':' && text[1] && (!text_parse_uint(text + 1, &value) || value < 1 || value > UINT16_MAX))
        return false;
    *port = (uint16_t)value;
    return *text == ':' || !*text;
}

static const char *parse_server(char *server, struct smb_url *parsed)
{
    bool bracket = *server == '[';
    size_t n = strcspn(server + bracket, bracket ? "]" : ":");
    char *end = server + bracket + n;
    if (strchr(server, '@'))
        return "the URL must not carry a user or password (give them as user= and password=)";
    if (n == 0 || n > 255 || (bracket && *end != ']') || !smb_url_parse_port(end + bracket, &parsed->port))
        return "the URL has no right host or port";
    *end = '\0';
    if (!text_percent_decode(server + bracket) || !is_name(server + bracket) || strpbrk(server + bracket, " /@?#"))
        return "the URL has no right host or port";
    parsed->host = mem_strdup(server + bracket);
    return NULL;
}

static const char *parse_parts(char *text, struct smb_url *parsed)
{
    char *share = strchr(text, '/'), *path = share ? strchr(share + 1, '/') : NULL;
    if (!path || path == share + 1 || !path[1])
        return "the URL must be smb://SERVER/SHARE/PATH-OF-THE-IMAGE";
    *share++ = *path++ = '\0';
    const char *wrong = parse_server(text, parsed);
    if (wrong)
        return wrong;
    if (!text_percent_decode(share) || !text_percent_decode(path) || !is_name(share) || !is_name(path) ||
        strchr(share, '/'))
        return "share and path must be UTF-8, percent-encoded, with / between folders";
    if (has_odd_folder(path))
        return "the path has an empty folder, or one of \".\" and \"..\"";
    parsed->share = mem_strdup(share);
    parsed->path = mem_strdup(path);
    return NULL;
}

const char *smb_url_parse(const char *text, struct smb_url *parsed)
{
    *parsed = (struct smb_url){0};
    if (strncasecmp(text, SCHEME, strlen(SCHEME)) != 0)
        return "it is no smb:// URL";
    if (strpbrk(text, "?#"))
        return "an smb:// URL has no query and no fragment (write ? as %3F and # as %23)";
    char *copy = mem_strdup(text + strlen(SCHEME));
    const char *wrong = parse_parts(copy, parsed);
    mem_free_secret(copy);
    if (wrong)
        smb_url_clear(parsed);
    return wrong;
}

void smb_url_clear(struct smb_url *url)
{
    mem_free(url->host);
    mem_free(url->share);
    mem_free(url->path);
    *url = (struct smb_url){0};
}

char *smb_url_server(const char *host)
{
    static const char suffix[] = ".ipv6-literal.net";
    size_t size = strlen(host) + sizeof suffix;
    char *server = mem_alloc(size);
    bool literal = strchr(host, ':');
    snprintf(server, size, "%s%s", host, literal ? suffix : "");
    for (char *c = server; literal && *c; c++)
        *c = *c == ':' ? '-' : *c == '%' ? 's' : *c;
    return server;
}

void smb_user_parse(const char *text, struct smb_user *user)
{
    *user = (struct smb_user){.text = mem_strdup(text ? text : "")};
    char *separator = strpbrk(user->text, "\\/");
    user->name = user->text;
    if (separator) {
        *separator = '\0';
        user->domain = user->text;
        user->name = separator + 1;
    } else if ((separator = strrchr(user->text, '@'))) {
        *separator = '\0';
        user->domain = separator + 1;
    }
    if (user->domain && !*user->domain)
        user->domain = NULL;
}

void smb_user_clear(struct smb_user *user)
{
    mem_free(user->text);
    *user = (struct smb_user){0};
}
