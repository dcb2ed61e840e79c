#include "remote/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static bool is_scheme(const char *url, const char *scheme)
{
    size_t length = strlen(scheme);
    return strncasecmp(url, scheme, length) == 0 && url[length] == ':';
}

/* --- paths --- */

/* An FTP path goes into a line of text, in which 0xff is Telnet's (RFC 959, 4.1); an SFTP path must have no zero
 * byte. */
static const char *path_problem(const char *path, size_t length, bool ftp)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f || (unsigned char)path[i] == 0xff)
            return "the URL's path has a control character";
    if (length == 0 || path[length - 1] == '/')
        return "the URL's path must name a file";
    const char *type = ftp ? strrchr(path, ';') : NULL;
    if (type && strncasecmp(type, ";type=", 6) == 0)
        return "the URL's path must not end with ;type= (images are always read as they are)";
    return NULL;
}

/* The path decoded, for mem_free(), or NULL and what is wrong with it. */
static char *read_path(CURLU *url, bool ftp, const char **problem)
{
    char *coded = NULL;
    int length = 0;
    *problem = "this is not a valid URL";
    if (curl_url_get(url, CURLUPART_PATH, &coded, 0) != CURLUE_OK)
        return NULL;
    const char *path = coded + 1; /* behind the slash */
    bool home = !ftp && strncmp(path, "~/", 2) == 0;
    char *decoded = curl_easy_unescape(NULL, ftp ? path : home ? path + 2 : coded, 0, &length);
    *problem = decoded ? path_problem(decoded, (size_t)length, ftp) : *problem;
    char *copy = decoded && !*problem ? mem_strdup(decoded) : NULL;
    curl_free(decoded);
    curl_free(coded);
    return copy;
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

static const char *place_url_problem(CURLU *url, const char *text)
{
    const char *problem;
    if (strchr(text, '?') || has_part(url, CURLUPART_FRAGMENT))
        return "the path of such a URL has no ? and no # (write them as %3F and %23)";
    mem_free(read_path(url, !is_scheme(text, "sftp"), &problem));
    return problem;
}

bool place_check(const char *text, char *error, size_t size)
{
    const char *problem = "this is not a valid URL";
    CURLU *url = curl_url();
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
        problem = place_url_problem(url, text);
    curl_url_cleanup(url);
    if (problem)
        snprintf(error, size, "%s", problem);
    return !problem;
}

/* --- where a URL leads to --- */

char *place_host(CURLU *url)
{
    char *host = NULL, *zone = NULL, *joined = NULL;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return NULL;
    curl_url_get(url, CURLUPART_ZONEID, &zone, 0);
    size_t length = strlen(host), size = length + (zone ? strlen(zone) : 0) + 2;
    bool brackets = *host == '[' && host[length - 1] == ']';
    joined = mem_alloc(size);
    snprintf(joined, size, "%.*s%s%s", (int)(brackets ? length - 2 : length), host + brackets, zone ? "%" : "",
             zone ? zone : "");
    curl_free(host);
    curl_free(zone);
    return joined;
}

bool place_read(struct place *place, const char *text)
{
    const char *problem = NULL;
    char *port = NULL;
    CURLU *url = curl_url();
    memset(place, 0, sizeof *place);
    bool good = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
    if (good) {
        bool sftp = is_scheme(text, "sftp");
        long standard = sftp ? 22 : is_scheme(text, "ftps") ? 990 : 21;
        place->host = place_host(url);
        place->path = read_path(url, !sftp, &problem);
        place->port =
            (uint16_t)(curl_url_get(url, CURLUPART_PORT, &port, 0) == CURLUE_OK ? strtol(port, NULL, 10) : standard);
        curl_free(port);
        good = place->host && place->path && place->port > 0;
    }
    curl_url_cleanup(url);
    return good;
}

void place_clear(struct place *place)
{
    mem_free(place->host);
    mem_free(place->path);
}
