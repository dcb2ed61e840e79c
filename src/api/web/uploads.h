/*
 * /api/uploads: the images in the BMC's own storage (store/store.h), as web/api.js says.
 *
 *   GET    the list and what is free        Login
 *   GET    of one: the image (download.c)   ConfigureComponents
 *   HEAD   of one: Upload-Offset            Login
 *   PUT    a piece, or the whole of one     ConfigureComponents
 *   DELETE one                              ConfigureComponents
 *
 * A body is taken as fast as it can be written, and no faster: what waits is bounded by
 * the store. When the client goes away in the middle, or its session ends, what has
 * arrived stays. An image has one PUT at a time. A PUT that has brought nothing for
 * UPLOADS_SILENT_MS is ended (409) when the same user begins another, since his client
 * may have come back after a network that failed unnoticed; until then the new PUT is
 * refused.
 */
#ifndef API_WEB_UPLOADS_H
#define API_WEB_UPLOADS_H

#include "api/json.h"
#include "store/store.h"

#define UPLOADS_SILENT_MS 3000

struct uploads;

/* The store must outlive it. `in_use`: is the image in use, so that it must not be deleted now? NULL: none ever is. */
struct uploads *uploads_new(struct store *store, bool (*in_use)(void *arg, const char *name), void *arg);
/* Requests that were begun end by themselves: they need the store only. */
void uploads_free(struct uploads *uploads);

/* The router has checked who asks, and that the page sent it (CSRF). `name` is decoded;
 * NULL: the collection. */
void uploads_handle(struct uploads *uploads, struct http_request *request, const struct api_caller *caller,
                    const char *name);
/* The names of the images that the session is uploading: there is a request, or was one a moment ago. */
json_t *uploads_of_session(const struct uploads *uploads, const struct session *session);
/* The user's account is gone or has changed: requests that came with its password end (401); those
 * of a session end with the session. */
void uploads_user_changed(struct uploads *uploads, const char *user);

#endif
