#include "remote/image_location.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const struct scheme {
    const char *name;
    enum location_kind kind;
} schemes[] = {
    /* the first name of each kind is the canonical one */
    {"https", LOCATION_HTTPS}, {"http", LOCATION_HTTP},     {"ftps", LOCATION_FTPS}, {"ftp", LOCATION_FTP},
    {"sftp", LOCATION_SFTP},   {"nfs", LOCATION_NFS},       {"smb", LOCATION_SMB},   {"cifs", LOCATION_SMB},
    {"file", LOCATION_PATH},   {"upload", LOCATION_UPLOAD},
};

/* --- the kind of a text --- */

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

static bool is_share(const char *text)
{
    return is_separator(text[0]) && text[1] == text[0];
}

/* The length of HOST in HOST:/PATH; 0: the text has another form. */
static size_t export_host(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    size_t length = *text == '[' ? 1 + strspn(text + 1, "0123456789abcdefABCDEF:.") : strspn(text, letters);
    if (*text == '[')
        length = text[length] == ']' ? length + 1 : 0;
    return length > 0 && text[length] == ':' && text[length + 1] == '/' && text[length + 2] != '/' ? length : 0;
}

static const struct scheme *scheme_of(const char *text)
{
    size_t length = strcspn(text, ":");
    for (size_t i = 0; text[length] && i < sizeof schemes / sizeof *schemes; i++)
        if (strlen(schemes[i].name) == length && strncasecmp(schemes[i].name, text, length) == 0)
            return &schemes[i];
    return NULL;
}

enum location_kind location_kind(const char *text)
{
    const struct scheme *scheme = scheme_of(text);
    if (is_share(text))
        return LOCATION_SMB;
    if (*text == '/')
        return LOCATION_PATH;
    return scheme ? scheme->kind : export_host(text) ? LOCATION_NFS : LOCATION_UNKNOWN;
}

const char *location_name(enum location_kind kind)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (schemes[i].kind == kind && kind != LOCATION_PATH && kind != LOCATION_UPLOAD)
            return schemes[i].name;
    return "";
}

/* --- as a URL --- */

/* What follows "SCHEME://". NULL: the URL has no scheme, or is like "https:///host" and "https:/host": libcurl forgives
 * these, but two readers of such a URL could see two hosts. */
static const char *authority_of(const char *url)
{
    const char *colon = strchr(url, ':');
    return colon && strncmp(colon, "://", 3) == 0 && colon[3] && colon[3] != '/' ? colon + 3 : NULL;
}

static const char *written_authority(const char *text)
{
    return is_share(text) ? text + 2 : authority_of(text);
}

bool location_has_user(const char *text)
{
    const char *authority = written_authority(text);
    return authority && memchr(authority, '@', strcspn(authority, is_share(text) ? "/\\" : "/?#"));
}

/* Writes SCHEME://, the host, and the path with %XX for what a URL can't have in it. A share's separators become
 * slashes. */
static char *encode(const char *scheme, const char *host, size_t host_length, const char *path, bool share)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/";
    char *url = mem_alloc(strlen(scheme) + 3 + host_length + 3 * strlen(path) + 1), *to = url;
    to += sprintf(to, "%s://%.*s", scheme, (int)host_length, host);
    for (; *path; path++) {
        if (share && *path == '\\')
            *to++ = '/';
        else if (strchr(plain, *path))
            *to++ = *path;
        else
            to += sprintf(to, "%%%02X", (unsigned char)*path);
    }
    return url;
}

static char *with_scheme(const char *name, const char *text)
{
    const char *rest = strchr(text, ':');
    size_t size = strlen(name) + strlen(rest) + 1;
    char *url = mem_alloc(size);
    snprintf(url, size, "%s%s", name, rest);
    return url;
}

static char *written_as_url(const char *text)
{
    const struct scheme *scheme = scheme_of(text);
    size_t host = scheme ? 0 : export_host(text);
    if (is_share(text)) {
        host = strcspn(text + 2, "/\\");
        return encode("smb", text + 2, host, text + 2 + host, true);
    }
    if (host)
        return encode("nfs", text, host, text + host + 1, false);
    return scheme ? with_scheme(location_name(scheme->kind), text) : NULL;
}

static bool has_control(const char *text, bool url)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f || (url && (*text == ' ' || *text == '\\')))
            return true;
    return false;
}

/* Such hosts are refused: letters beyond ASCII may look like others, and libcurl would need a locale for them; %XX
 * could become anything. In brackets a percent sign begins a zone. */
static bool has_coded_host(const char *authority)
{
    for (size_t length = strcspn(authority, "/?#"); length > 0; length--) {
        unsigned char c = (unsigned char)authority[length - 1];
        if (c >= 0x80 || (c == '%' && *authority != '['))
            return true;
    }
    return false;
}

static bool is_parsed(const char *text)
{
    CURLU *url = curl_url();
    bool good = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
    curl_url_cleanup(url);
    return good;
}

static const char *location_url_problem(const char *url)
{
    const char *authority = authority_of(url);
    if (strlen(url) >= LOCATION_URL_MAX)
        return "the URL is too long";
    if (has_control(url, true))
        return "the URL has a blank, a backslash or a control character (write it as %XX)";
    if (authority && location_has_user(url))
        return "the URL must not carry a user or password (give them as user= and password=)";
    if (authority && has_coded_host(authority))
        return "the URL's host has a letter beyond ASCII or a %XX (write it plainly, or in its xn-- form)";
    return authority && is_parsed(url) ? NULL : "this is not a valid URL (expected https://HOST/PATH)";
}

static const char *text_problem(const char *text)
{
    enum location_kind kind = location_kind(text);
    if (strlen(text) >= LOCATION_URL_MAX)
        return "the URL is too long";
    if (kind == LOCATION_UNKNOWN && !strchr(text, ':'))
        return "this is neither a URL nor an absolute path (give https://HOST/PATH or the like, or an absolute path, "
               "/PATH)";
    if (kind == LOCATION_UNKNOWN || !*location_name(kind))
        return "this kind of URL is not supported (use https://, http://, sftp://, ftps://, ftp://, nfs://, smb:// or "
               "a file's absolute path)";
    return has_control(text, false) ? "the image's address has a control character" : NULL;
}

char *location_url(const char *text, char error[LOCATION_ERROR_MAX])
{
    const char *problem = text_problem(text);
    char *url = problem ? NULL : written_as_url(text);
    if (!problem)
        problem = location_url_problem(url);
    if (!problem)
        return url;
    mem_free_secret(url);
    snprintf(error, LOCATION_ERROR_MAX, "%s", problem);
    return NULL;
}
