/*
 * Who we are for the server of an image: what its insert gave, else the configuration's section [credentials NAME]
 * with the longest origin that the image is of, else the keys of the slot, which are for the configured image's
 * server only. An origin's certificate and key go along with a login that the insert gave.
 */
#ifndef SLOT_SLOT_CREDENTIALS_H
#define SLOT_SLOT_CREDENTIALS_H

#include "config/config.h"
#include "slot/slot.h"

/* The sections of a configuration, as they are when an image is inserted. */
struct slot_credentials {
    struct config_credentials *items;
    unsigned count;
};

/* The texts are the configuration's and the insert's; "" or NULL for none. */
struct slot_login {
    const char *section; /* NAME of the section that the login is from; NULL: it is from none */
    const char *user, *password, *bearer_token;
    const char *login_origin; /* the origin that those three are for; NULL: the image's server */
    const char *client_cert, *client_key, *ssh_key;
    const char *key_origin; /* the origin that those three are for */
};

/* Copies the sections, in place of those that it has. */
void slot_credentials_read(struct slot_credentials *credentials, const struct config *config);
/* Says in the log if the configuration has a login that no image can use, such as that of [http] without an `image`. */
void slot_credentials_check(const struct config *config);
void slot_credentials_clear(struct slot_credentials *credentials);
/* `url` is of location_url(). */
void slot_credentials_choose(const struct slot_credentials *credentials, const struct config_slot *config, const char *url,
                             const struct slot_insert_options *options, struct slot_login *login);

#endif
