/*
 * Where a URL that image_location.h passed leads to, and, for FTP and SFTP, whose paths go to the server as they are
 * decoded, what it names there.
 */
#ifndef REMOTE_PLACE_H
#define REMOTE_PLACE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place {
    char *host; /* without brackets, with the zone */
    uint16_t port;
    char *path; /* as FTP and SFTP servers read it */
};

/* What FTP and SFTP want of a URL: no control characters, no query, and the name of a file. A path of FTP is relative
 * to the folder of the login (RFC 1738, 3.2.2: %2F at its beginning makes it absolute), SFTP's is absolute
 * but for "/~/". On failure `error` says what to do. */
bool place_check(const char *url, char *error, size_t size);
/* Reads a URL that place_check() passed. */
bool place_read(struct place *place, const char *url);
void place_clear(struct place *place);

/* The URL's host, without brackets, with the zone; for mem_free(). NULL: it has none. */
char *place_host(CURLU *url);

#endif
