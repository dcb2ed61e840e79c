/* Where an image is, as one could write it: refused in words, or a URL that every parser of the daemon reads as a place on
 * one host, whose name has nothing in it that another would read as syntax. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "remote/image_location.h"
#include "remote/nfs/address.h"
#include "remote/origin.h"
#include "remote/place.h"
#include "remote/smb/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check_host(const char *host)
{
    must(*host && !strpbrk(host, "/@?# \\\t\r\n"));
}

static void check_place(const char *url)
{
    char error[LOCATION_ERROR_MAX] = "";
    struct place place;
    if (!place_check(url, error, sizeof error)) {
        must(*error);
        return;
    }
    if (place_read(&place, url)) {
        check_host(place.host);
        must(!strpbrk(place.path, "\r\n"));
    }
    place_clear(&place);
}

static void check_share(const char *url)
{
    struct smb_url parsed;
    if (!smb_url_parse(url, &parsed)) {
        char *server = smb_url_server(parsed.host);
        check_host(parsed.host);
        must(*parsed.share && *parsed.path && *server);
        mem_free(server);
    }
    smb_url_clear(&parsed);
}

static void check_export(const char *url)
{
    char error[NFS_ADDRESS_ERROR_MAX] = "";
    struct nfs_address address;
    if (nfs_address_parse(url, &address, error))
        check_host(address.host);
    else
        must(*error);
}

/* A URL is of its own origin, and of its server's. */
static void check_origin(const char *url)
{
    struct origin origin, server;
    if (origin_read(&origin, url) && origin_read_server(&server, url))
        must(origin_covers(&server, url) && origin_holds(&server, &origin));
    else
        return;
    origin_clear(&origin);
    origin_clear(&server);
}

static void check_url(const char *url)
{
    enum location_kind kind = location_kind(url);
    const char *name = location_name(kind);
    must(*name && strncasecmp(url, name, strlen(name)) == 0 && !location_has_user(url));
    for (const char *c = url; *c; c++)
        must((unsigned char)*c > ' ' && *c != '\\' && *c != 127);
    check_origin(url);
    if (kind == LOCATION_SMB)
        check_share(url);
    else if (kind == LOCATION_NFS)
        check_export(url);
    else
        check_place(url);
}

static void check_user(const char *text)
{
    struct smb_user user;
    smb_user_parse(text, &user);
    must(!user.name || strlen(user.name) <= strlen(text));
    smb_user_clear(&user);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[LOCATION_ERROR_MAX] = "", *text = mem_alloc(size + 1);
    memcpy(text, data, size);
    char *url = location_url(text, error), *again;
    must(url || *error);
    if (url) {
        check_url(url);
        must((again = location_url(url, error)) && strcmp(again, url) == 0);
        mem_free(again);
    }
    mem_free(url);
    check_user(text);
    origin_problem(text);
    mem_free(text);
    return 0;
}
