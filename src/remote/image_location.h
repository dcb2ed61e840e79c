/*
 * Where an image is: what people may write for that, and what such a text means.
 *
 *     /path, file:///path              on this machine
 *     upload:NAME                      in the store of uploads
 *     https:// http:// ftps:// ftp:// sftp:// nfs:// smb://   URLs (RFC 3986)
 *     cifs://HOST/SHARE/PATH           the same as smb://
 *     //HOST/SHARE/PATH, \\HOST\SHARE\PATH   the same as smb://HOST/SHARE/PATH, in Windows' form (MS-DTYP, 2.2.57)
 *     HOST:/PATH                       the same as nfs://HOST/PATH, as mount(8) has it
 *
 * One parser decides, so that no two parts of the daemon see two hosts in one text.
 */
#ifndef REMOTE_IMAGE_LOCATION_H
#define REMOTE_IMAGE_LOCATION_H

#include <stdbool.h>

#define LOCATION_URL_MAX   8192
#define LOCATION_ERROR_MAX 256

enum location_kind {
    LOCATION_UNKNOWN, /* the text has none of these forms, or is empty */
    LOCATION_PATH,
    LOCATION_UPLOAD,
    LOCATION_HTTPS,
    LOCATION_HTTP,
    LOCATION_FTPS,
    LOCATION_FTP,
    LOCATION_SFTP,
    LOCATION_NFS,
    LOCATION_SMB,
};

/* Judges by how the text begins; the rest may still be wrong. */
enum location_kind location_kind(const char *text);
/* "https", as in the configuration's `protocols`; "" for kinds of images that are on no other machine. */
const char *location_name(enum location_kind kind);
/* Does a user or a password, even an empty one, stand before the host? */
bool location_has_user(const char *text);
/* The address of an image on another machine as a URL that begins with one of the names above; for mem_free(). The URL
 * has a host, no user info, no blank, backslash or control character, and is shorter than LOCATION_URL_MAX. A text that
 * was no URL is percent-encoded; a URL is left as it was, but for its scheme's name. NULL: `error` says what to do. */
char *location_url(const char *text, char error[LOCATION_ERROR_MAX]);

#endif
