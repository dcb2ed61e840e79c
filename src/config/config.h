/*
 * The configuration: one table of keys (config/keys.c) makes the parser, the
 * defaults, --dump-config, the commented sample in conf/ and the check that
 * the man page names every key.
 *
 * Sections: [daemon], [web] (the page and its accounts), [dbus], [host] (who has its power),
 * [http] (defaults for every slot's images on servers), [credentials NAME] (a login, and the origin that it is for),
 * and [slot NAME] (its own keys, and any key of [http] to override it there). Which there are is the table in config/sections.c.
 * A struct config is a value: it owns its strings; config_free() frees it.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/list.h"

#define CONFIG_ERROR_MAX 512
#define CONFIG_SLOTS_MAX 16
#define CONFIG_CREDENTIALS_MAX 32
#define CONFIG_SLOT_NAME_MAX 32 /* [A-Za-z0-9_-]+, and not only digits: digits are indexes */
#define CONFIG_GADGET_PREFIX "nbd-proxy-" /* of a slot's gadget, unless it has a name of its own */
#define CONFIG_GADGET_MAX 64
#define CONFIG_FUNCTION_MAX 32
#define CONFIG_NAME_MAX CONFIG_SLOT_NAME_MAX /* of any section that may be there several times */

enum config_media { MEDIA_CD, MEDIA_DISK };
/* Each shows the medium on the NBD socket too. */
enum config_attach { ATTACH_AUTO, ATTACH_SOCKET, ATTACH_NBD, ATTACH_USB };
enum config_present { PRESENT_ALWAYS, PRESENT_INSERTED };
/* Auto: in memory, where an insert wants to write to an image that can't be written to and is a disk. */
enum config_overlay { OVERLAY_AUTO, OVERLAY_NONE, OVERLAY_MEMORY, OVERLAY_FILE };
enum config_cdrom { CDROM_AUTO, CDROM_YES, CDROM_NO };
enum config_http_version { HTTP_VERSION_AUTO, HTTP_VERSION_1_1, HTTP_VERSION_2 };
enum config_client_certificates { CLIENT_CERTIFICATES_OPTIONAL, CLIENT_CERTIFICATES_REQUIRED };
/* The numbers of the D-Bus objects for images by URL: behind those for browsers, or the same. */
enum config_accounts { ACCOUNTS_FILE = 1, ACCOUNTS_PAM = 2 }; /* bits */
enum config_metrics { METRICS_LOGIN, METRICS_LOCAL, METRICS_NO };
enum config_legacy_numbers { LEGACY_NUMBERS_AFTER, LEGACY_NUMBERS_SAME };
enum config_local { LOCAL_NO, LOCAL_LINK, LOCAL_YES };
enum config_nfs_version { NFS_VERSION_AUTO, NFS_VERSION_3, NFS_VERSION_4 };
enum config_ftp_tls { FTP_TLS_NO, FTP_TLS_TRY, FTP_TLS_REQUIRED };
enum config_validator { VALIDATOR_ETAG, VALIDATOR_LAST_MODIFIED };
enum config_profile { PROFILE_NO, PROFILE_OWN, PROFILE_AUTO };
enum config_http_auth { HTTP_AUTH_ANY, HTTP_AUTH_BASIC, HTTP_AUTH_DIGEST };
enum config_smb_encryption { SMB_ENCRYPTION_AUTO, SMB_ENCRYPTION_REQUIRED };

/* Who we are for a server, by whichever protocol. */
struct config_login {
    char *user, *password;          /* user, password (secret) */
    char *bearer_token;             /* bearer-token (secret) */
    char *client_cert, *client_key; /* client-certificate, client-key (PEM files) */
    char *ssh_key;                  /* ssh-key = "" (a file) */
};

/* What every source on a server needs: keys of [http], overridable in [slot]. */
struct config_http {
    uint64_t connections;          /* http-connections = 16, 1..64: ranges fetched at a time */
    enum config_http_version version; /* http-version = auto | 1.1 | 2 */
    uint64_t protocols;            /* protocols = https http ...: see config_allows_protocol() */
    enum config_ftp_tls ftp_tls;   /* ftp-tls = no | try | required */
    enum config_local local;       /* allow-local = no | link | yes */
    uint64_t redirects;            /* redirects = 3, 0..20 */
    char *ca_file;                 /* ca-file = "" (the system's) */
    bool verify;                   /* verify-certificate = yes */
    struct config_login login;     /* for the configured image's server only */
    char *ssh_known_hosts;         /* ssh-known-hosts = "" (a file) */
    char *ssh_host_key;            /* ssh-host-key = "" (SHA256:...) */
    enum config_http_auth auth;    /* http-auth = any | basic | digest */
    enum config_validator validator; /* validator = etag | last-modified: what tells versions apart */
    enum config_smb_encryption smb_encryption; /* smb-encryption = auto | required */
    char *proxy;                   /* proxy = "" (from no environment) */
    uint64_t connect_timeout_ms;   /* connect-timeout = 10s */
    uint64_t stall_timeout_ms;     /* stall-timeout = 10s: no byte for that long ends a transfer */
    uint64_t io_timeout_ms;        /* io-timeout = 25s */
    bool readahead;                /* readahead = yes */
    bool align;                    /* fetch-align = yes */
    enum config_profile profile;   /* boot-profile = no | own | auto */
    enum config_nfs_version nfs_version; /* nfs-version = auto | 3 | 4 */
    uint64_t nfs_uid, nfs_gid;     /* nfs-uid, nfs-gid = 65534: who reads, for NFS servers */
    bool nfs_ids;                  /* nfs-ids = no: only who administers the daemon may say uid= and gid= in a URL */
};

/* A login that serves the images of one origin (remote/origin.h), in whatever slot. */
struct config_credentials {
    char name[CONFIG_NAME_MAX];
    unsigned line;                 /* of the section's header, for messages; 0: not from a file */
    char *origin;                  /* origin: SCHEME://HOST[:PORT][/PATH] */
    struct config_login login;
};

/* The web server: page, browser media, uploads. */
struct config_web {
    char *listen;                  /* listen = "": addresses for HTTPS, separated by blanks or commas; none: no server */
    char *listen_plain;            /* listen-plain = "": for plain HTTP: loopback and unix: only */
    char *certificate, *certificate_key; /* certificate, certificate-key = "": made beside the users file */
    char *client_ca;               /* client-ca = "": client certificates are not asked for */
    enum config_client_certificates client_certificates; /* client-certificates = optional | required */
    uint64_t accounts;             /* accounts = file, pam or both: enum config_accounts */
    char *administrator_groups, *operator_groups, *read_only_groups; /* = priv-admin, priv-operator, priv-user */
    char *users_file;              /* users-file = "": the one of `nbd-proxy passwd` */
    uint64_t password_min_length;  /* password-min-length = 8: of a new one */
    uint64_t session_idle_ms;      /* session-idle = 30m */
    uint64_t session_age_ms;       /* session-age = 24h */
    uint64_t async_after_ms;       /* redfish-async-after = 0s: never */
    char *trusted_proxies;         /* trusted-proxies = "": who may say by Forwarded for whom it asks */
    char *origins;                 /* origins = "": further ones whose pages may open WebSockets */
    char *root_slot;               /* root-slot = "": the slot behind a WebSocket at / */
    uint64_t connections;          /* web-connections = 64 */
    uint64_t connections_each;     /* web-connections-each = 32: of one address */
    char *directory;               /* web-directory = "": the installed page */
    char *upload_directory;        /* upload-directory = "": uploads are off */
    uint64_t upload_size;          /* upload-size = 8G: all uploads together */
    enum config_metrics metrics;   /* metrics = login | local | no: who may have /metrics */
    uint64_t upload_free;          /* upload-free = 64M: what stays free beside them */
};

/* The D-Bus service that bmcweb drives. */
struct config_dbus {
    char *bus;                     /* bus = none | system | session | unix:... */
    char *name;                    /* name = xyz.openbmc_project.VirtualMedia */
    char *proxy_directory;         /* proxy-directory = "" -> RUNTIME-DIR/proxy: where bmcweb listens */
    uint64_t proxy_mode;           /* proxy-mode = 0700: of that folder */
    enum config_legacy_numbers legacy_numbers; /* legacy-numbers = after | same */
    uint64_t mount_timeout_ms;     /* mount-timeout = 90s */
};

/* Who does what is asked of the host itself: its power, its boot source. */
struct config_host {
    char *hook;          /* hook = "": an executable */
    char *dbus;          /* dbus = "": OpenBMC's bus: system, session or an address */
    uint64_t timeout_ms; /* host-timeout = 10s */
    char *serial, *uuid, *mac; /* serial, uuid, mac = "": what placeholders stand for */
};

/* The USB device that the host sees. */
struct config_usb {
    char *gadget;                  /* usb-gadget = "": nbd-proxy-NAME; see config_gadget_name() */
    char *function;                /* usb-function = 0: of mass_storage.0 */
    char *controller;              /* usb-controller = "": any; glob patterns */
    enum config_present present;   /* usb-present = always | inserted */
    enum config_cdrom cdrom;       /* usb-cdrom = auto | yes | no */
    uint64_t vendor_id, product_id; /* usb-vendor-id = 0x1d6b, usb-product-id = 0x0104 */
    char *manufacturer, *product;  /* usb-manufacturer, usb-product */
    char *serial;                  /* usb-serial = "": made from the machine and the slot */
    char *inquiry;                 /* usb-inquiry: the drive's SCSI name, 28 characters at most */
    uint64_t power;                /* usb-power = 100: mA */
    bool fua;                      /* usb-fua = yes */
    uint64_t eject_patience_ms;    /* eject-patience = 5s */
};

struct config_slot {
    char name[CONFIG_SLOT_NAME_MAX];
    unsigned line;                 /* as above */
    enum config_media media;       /* media = cd | disk */
    enum config_attach attach;     /* attach = auto | socket | nbd | usb */
    char *device;                  /* nbd-device = "" -> /dev/nbdN, N the slot's number */
    uint64_t device_connections;   /* nbd-connections = 2 */
    uint64_t device_readahead;     /* nbd-readahead = 512K: the kernel's, on the device */
    uint64_t restart_grace_ms;     /* restart-grace = 25s: reads wait that long for a new daemon */
    struct config_usb usb;
    char *socket;                  /* socket = "" -> RUNTIME-DIR/NAME.sock */
    uint64_t socket_mode;          /* socket-mode = 0600 (octal) */
    char *socket_group;            /* socket-group = "" */
    bool writable;                 /* writable = no: writes reach the source if it can */
    enum config_overlay overlay;   /* overlay = auto | none | memory | file: where writes go instead */
    uint64_t overlay_size;         /* overlay-size = 64M */
    bool overlay_keep;             /* overlay-keep = no: a file is kept at the eject */
    char *overlay_directory;       /* overlay-directory = /var/lib/nbd-proxy */
    uint64_t reconnect_grace_ms;   /* reconnect-grace = 25s: reads wait that long for a browser that was lost */
    bool reconnect_stay;           /* reconnect-stay = no: after that the medium is ejected */
    uint64_t browser_request;      /* browser-request = 256K: bytes asked of a browser at a time */
    uint64_t browser_window;       /* browser-window = 8M: bytes in flight from a browser */
    uint64_t max_connections;      /* max-connections = 16 */
    uint64_t idle_timeout_ms;      /* idle-timeout = 0s: never */
    char *image;                   /* image = "": inserted at start */
    char *kernel_args;             /* kernel-args = "": further arguments for that image's kernels */
    char *menu_default;            /* menu-default = "": the entry that they boot then */
    char *image_files;             /* image-files = "": what else is changed on it, as JSON, or the URL of such */
    char *menu_timeout;            /* menu-timeout = "": seconds that its boot menus wait; as the image has it */
    char *config;                  /* config = "": where a config medium's files are, inserted at start in place of an image */
    char *config_kind, *config_label; /* config-kind, config-label = "" */
    char *network_data, *network_kind; /* network-data, network-kind = "": of the image's kernels, or of the config medium */
    uint64_t eject_after_ms;       /* eject-after = 0s: a medium stays until it is ejected */
    struct config_http http;       /* resolved: [http] with this section's overrides */
    uint64_t overrides;            /* bit N: key N of [http] is set in this section */
};

struct config {
    /* [daemon] */
    int log_level;                 /* log-level = error|warning|notice|info|debug (info), syslog's numbers */
    int log_target;                /* log-target = stderr | syslog, enum log_target */
    char *user;                    /* user = "": nbd-proxy if there is one, else root */
    char *runtime_dir;             /* runtime-dir = /run/nbd-proxy */
    char *control_socket;          /* control-socket = "" -> RUNTIME-DIR/control.sock */
    uint64_t control_mode;         /* control-mode = 0600 */
    char *control_group;           /* control-group = "": its members are served beside root and ourselves */
    uint64_t control_connections;  /* control-connections = 16 */
    uint64_t cache_size;           /* cache-size = 64M, 8M..64G, a budget over all slots */
    uint64_t cache_slot_minimum;   /* cache-slot-minimum = 4M */
    uint64_t step_timeout_ms;      /* step-timeout = 60s: of one call to the kernel */
    bool state_secrets;            /* state-secrets = no: URLs with secrets may be written to the state file */
    char *profile_directory;       /* profile-directory = /var/lib/nbd-proxy/profiles; "": none are kept */
    char *file_directory;          /* file-directory = "": when set, only files below it may be inserted */
    struct config_web web;         /* [web] */
    struct config_dbus dbus;       /* [dbus] */
    struct config_host host;       /* [host] */
    struct config_http http;       /* [http] */
    struct config_credentials *credentials;
    unsigned credentials_count;
    struct config_slot *slots;     /* in the file's order: slot number = index */
    unsigned slot_count;
};

/* All return 0, or -1 with `error` as "FILE:LINE: what was expected". */
/* The built-in default: slot0 (media = cd) and slot1 (media = disk). */
void config_default(struct config *config);
/* Probing: files, folders and groups that are named must be there; a start does without, since they may come later. */
int config_load(struct config *config, const char *file, bool probing, char error[CONFIG_ERROR_MAX]);
int config_parse(struct config *config, const char *file_name, const char *text, char error[CONFIG_ERROR_MAX]);
/* "SECTION.KEY=VALUE", and "slot.NAME.KEY=VALUE" or "credentials.NAME.KEY=VALUE" (of --set); a section with a name
 * that is not there yet is added. */
int config_set(struct config *config, const char *assignment, char error[CONFIG_ERROR_MAX]);
/* Checks what no single key shows: paths of sockets that are equal, the minimum times
 * slots over the cache's size, a client key without certificate, an `origin` that is not
 * one... */
/* The slot's folder among the gadgets in configfs. */
void config_gadget_name(const struct config_slot *slot, char name[CONFIG_GADGET_MAX]);
int config_validate(const struct config *config, char error[CONFIG_ERROR_MAX]);
void config_free(struct config *config);

/* Writes a file that config_load() reads back to the same values. Secrets are
 * written as comments without their value. */
void config_dump(const struct config *config, FILE *out);
/* The commented sample with every key at its default: conf/nbd-proxy.conf. */
void config_sample(FILE *out);
bool config_slot_equal(const struct config_slot *a, const struct config_slot *b);
/* Deep copies. */
void config_copy(struct config *to, const struct config *from);
void config_slot_copy(struct config_slot *to, const struct config_slot *from);
void config_slot_clear(struct config_slot *slot);
void config_credentials_copy(struct config_credentials *to, const struct config_credentials *from);
void config_credentials_clear(struct config_credentials *credentials);
/* Whether images may come by the protocol of that name ("https"). */
bool config_allows_protocol(const struct config_http *http, const char *protocol);

#endif
