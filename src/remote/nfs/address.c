#include "remote/nfs/address.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define SCHEME       "nfs://"
#define ARGUMENT_MAX 32

/* --- paths --- */

/* One name more, or one less for ".."; false: no room. */
static bool nfs_address_add_name(char *out, const char *name, size_t length)
{
    size_t used = strlen(out);
    if (length == 0 || (length == 1 && *name == '.'))
        return true;
    if (length == 2 && memcmp(name, "..", 2) == 0) {
        char *slash = strrchr(out, '/');
        if (slash)
            *slash = '\0';
        return true;
    }
    if (length >= NFS_NAME_MAX || used + length + 2 > NFS_PATH_MAX)
        return false;
    out[used] = '/';
    memcpy(out + used + 1, name, length);
    out[used + 1 + length] = '\0';
    return true;
}

static bool add_names(char *out, const char *path)
{
    while (*path) {
        size_t length = strcspn(path, "/");
        if (!nfs_address_add_name(out, path, length))
            return false;
        path += length + (path[length] == '/');
    }
    return true;
}

bool nfs_path_join(const char *folder, const char *path, char out[NFS_PATH_MAX])
{
    *out = '\0';
    if ((*path != '/' && !add_names(out, folder)) || !add_names(out, path) || nfs_path_count(out) > NFS_DEPTH_MAX)
        return false;
    if (!*out)
        memcpy(out, "/", 2);
    return true;
}

unsigned nfs_path_count(const char *path)
{
    unsigned count = 0;
    for (const char *p = path; *p; p++)
        count += *p == '/' && p[1];
    return count;
}

/* Where the name begins; the text's end: there are no more. */
static const char *name_at(const char *path, unsigned index)
{
    const char *p = path + (*path == '/');
    for (; *p && index > 0; p++)
        index -= *p == '/';
    return p;
}

void nfs_path_name(const char *path, unsigned index, char name[NFS_NAME_MAX])
{
    const char *start = name_at(path, index);
    snprintf(name, NFS_NAME_MAX, "%.*s", (int)strcspn(start, "/"), start);
}

void nfs_path_head(const char *path, unsigned count, char out[NFS_PATH_MAX])
{
    size_t length = (size_t)(name_at(path, count) - path);
    if (length > 1 && path[length - 1] == '/')
        length--;
    snprintf(out, NFS_PATH_MAX, "%.*s", length > 0 ? (int)length : 1, path);
}

/* --- arguments --- */

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    return text_parse_uint(text, value) && *value >= least && *value <= most;
}

/* NULL, or what is wrong with it. */
static const char *set_argument(struct nfs_address *address, const char *name, const char *text)
{
    uint64_t value;
    bool uid = strcmp(name, "uid") == 0, nfsport = strcmp(name, "nfsport") == 0;
    if (strcmp(name, "version") == 0) {
        if (!parse_number(text, 3, 4, &value))
            return "version must be 3 or 4";
        if (address->version)
            return "version is given twice";
        address->version = (unsigned)value;
    } else if (uid || strcmp(name, "gid") == 0) {
        int64_t *id = uid ? &address->uid : &address->gid;
        if (!parse_number(text, 0, UINT32_MAX - 1, &value))
            return "uid and gid must be numbers";
        if (*id >= 0)
            return "uid or gid is given twice";
        *id = (int64_t)value;
    } else if (nfsport || strcmp(name, "mountport") == 0) {
        uint16_t *port = nfsport ? &address->port : &address->mount_port;
        if (!parse_number(text, 1, UINT16_MAX, &value))
            return "nfsport and mountport must be 1 to 65535";
        if (*port)
            return "a port is given twice";
        *port = (uint16_t)value;
    } else {
        return "an NFS URL's arguments are version, uid, gid, nfsport and mountport";
    }
    return NULL;
}

static const char *parse_query(struct nfs_address *address, const char *query)
{
    const char *problem = NULL;
    while (*query && !problem) {
        char one[ARGUMENT_MAX];
        size_t length = strcspn(query, "&");
        if (length >= sizeof one)
            return "an argument is too long";
        memcpy(one, query, length);
        one[length] = '\0';
        char *equals = strchr(one, '=');
        if (equals)
            *equals = '\0';
        problem = set_argument(address, one, equals ? equals + 1 : "");
        query += length + (query[length] == '&');
    }
    return problem;
}

/* --- the URL --- */

static const char *nfs_address_take_host(struct nfs_address *address, const char *host)
{
    size_t length = strlen(host);
    bool bracketed = *host == '[';
    if (length >= NFS_HOST_MAX)
        return "the host's name is too long";
    for (const char *p = host; *p; p++)
        if (!strchr(bracketed ? "[]:." : "-._", *p) && !(*p >= '0' && *p <= '9') && !(*p >= 'a' && *p <= 'z') &&
            !(*p >= 'A' && *p <= 'Z'))
            return "the host must be a name or an address (an IPv6 address in brackets, without a zone)";
    snprintf(address->host, sizeof address->host, "%.*s", (int)(length - 2 * bracketed), host + bracketed);
    return *address->host ? NULL : "the host is missing (expected nfs://HOST/PATH)";
}

static const char *nfs_address_take_path(struct nfs_address *address, const char *path)
{
    if (!nfs_path_join("/", path, address->path))
        return "the path is too long";
    return nfs_path_count(address->path) > 0 ? NULL : "the path is missing (expected nfs://HOST/PATH of the image)";
}

static const char *nfs_address_take_port(struct nfs_address *address, const char *port)
{
    uint64_t value;
    if (!parse_number(port, 1, UINT16_MAX, &value))
        return "the port must be 1 to 65535";
    address->port = (uint16_t)value;
    return NULL;
}

static const char *nfs_address_take_part(CURLU *url, CURLUPart part, unsigned flags, struct nfs_address *address,
                             const char *(*take)(struct nfs_address *, const char *), const char *without)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(url, part, &text, flags);
    const char *problem = code == CURLUE_OK ? take(address, text) : without;
    curl_free(text);
    return problem;
}

static const char *nfs_address_parse_url(CURLU *url, struct nfs_address *address)
{
    const char *problem =
        nfs_address_take_part(url, CURLUPART_HOST, 0, address, nfs_address_take_host, "the host is missing (expected nfs://HOST/PATH)");
    if (!problem)
        problem = nfs_address_take_part(url, CURLUPART_PORT, 0, address, nfs_address_take_port, NULL);
    if (!problem)
        problem = nfs_address_take_part(url, CURLUPART_PATH, CURLU_URLDECODE, address, nfs_address_take_path, "the path can't be decoded");
    if (!problem)
        problem = nfs_address_take_part(url, CURLUPART_QUERY, 0, address, parse_query, NULL);
    return problem;
}

static const char *check(const char *text, struct nfs_address *address)
{
    if (strncasecmp(text, SCHEME, strlen(SCHEME)) != 0)
        return "this is not the URL of an NFS image (expected nfs://HOST/PATH)";
    const char *authority = text + strlen(SCHEME);
    if (memchr(authority, '%', strcspn(authority, "/?#")))
        return "the host must be a name or an address without %XX and without a zone";
    if (strchr(text, '#'))
        return "an NFS URL has no part behind # (write that as %23)";
    CURLU *url = curl_url();
    const char *problem =
        curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS) == CURLUE_OK
            ? nfs_address_parse_url(url, address)
            : "this is not a valid URL (expected nfs://HOST/PATH)";
    curl_url_cleanup(url);
    return problem;
}

bool nfs_address_parse(const char *url, struct nfs_address *address, char error[NFS_ADDRESS_ERROR_MAX])
{
    memset(address, 0, sizeof *address);
    address->uid = address->gid = -1;
    const char *problem = check(url, address);
    if (problem)
        snprintf(error, NFS_ADDRESS_ERROR_MAX, "%s", problem);
    return !problem;
}
