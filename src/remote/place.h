/*
 * Where a URL that location_url() gave leads to: the server, and for FTP and SFTP the file's path there, decoded, as
 * the server gets it.
 */
#ifndef REMOTE_PLACE_H
#define REMOTE_PLACE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place {
    char *host; /* an IPv6 address without brackets, with the zone */
    uint16_t port;
    char *path; /* decoded */
};

/* What FTP and SFTP want of a URL: no control characters, no query, and the name of a file. A path of FTP is relative
 * to the folder of the login (RFC 1738, 3.2.2: %2F at its beginning makes it absolute), SFTP's is absolute
 * but for "/~/". On failure `error` says what to do. */
bool place_check(const char *url, char *error, size_t size);
/* Reads a URL that place_check() passed. False: there is no place in it; place_clear() is due in any case. */
bool place_read(struct place *place, const char *url);
void place_clear(struct place *place);

/* The URL's host, without brackets, with the zone; for mem_free(). NULL: it has none. */
char *place_host(CURLU *url);

#endif
