#include "config/keys.h"

#include <string.h>

#include "base/log.h"
#include "base/text.h"

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug", NULL};
static const char *const target_names[] = {"stderr", "syslog", NULL};
static const char *const media_names[] = {"cd", "disk", NULL};
static const char *const attach_names[] = {"auto", "socket", "nbd", "usb", NULL};
static const char *const present_names[] = {"always", "inserted", NULL};
static const char *const overlay_names[] = {"auto", "none", "memory", "file", NULL};
static const char *const cdrom_names[] = {"auto", "yes", "no", NULL};
static const char *const client_certificates_names[] = {"optional", "required", NULL};
static const char *const metrics_names[] = {"login", "local", "no", NULL};
static const char *const legacy_numbers_names[] = {"after", "same", NULL};
static const char *const version_names[] = {"auto", "1.1", "2", NULL};
static const char *const ftp_tls_names[] = {"no", "try", "required", NULL};
static const char *const accounts_names[] = {"file", "pam", NULL};
static const char *const local_names[] = {"no", "link", "yes", NULL};
static const char *const protocol_names[] = {"https", "http", "sftp", "ftps", "ftp", "nfs", "smb", NULL};
static const char *const nfs_version_names[] = {"auto", "3", "4", NULL};
static const char *const profile_names[] = {"no", "own", "auto", NULL};
static const char *const auth_names[] = {"any", "basic", "digest", NULL};
static const char *const validator_names[] = {"etag", "last-modified", NULL};
static const char *const smb_encryption_names[] = {"auto", "required", NULL};

/* A row: name, field, type, least, most, names, default, help. */
#define ROW(sec, st, key_name, field, key_type, least, most, value_names, default_text, help_text)                     \
    {key_name, sec, key_type, offsetof(st, field), least, most, value_names, default_text, help_text}
#define DAEMON(...) ROW(KEY_DAEMON, struct config, __VA_ARGS__)
#define WEB(...) ROW(KEY_WEB, struct config_web, __VA_ARGS__)
#define DBUS(...) ROW(KEY_DBUS, struct config_dbus, __VA_ARGS__)
#define HOST(...) ROW(KEY_HOST, struct config_host, __VA_ARGS__)
#define HTTP(...) ROW(KEY_HTTP, struct config_http, __VA_ARGS__)
#define CREDENTIALS(...) ROW(KEY_CREDENTIALS, struct config_credentials, __VA_ARGS__)
#define SLOT(...) ROW(KEY_SLOT, struct config_slot, __VA_ARGS__)
#define MINUTES(n) ((n) * 60000ull)

const struct key config_keys[] = {
    DAEMON("log-level", log_level, KEY_ENUM, LOG_LEVEL_ERROR, 0, level_names, "info",
           "How much is logged: that level and everything graver."),
    DAEMON("log-target", log_target, KEY_ENUM, LOG_TO_STDERR, 0, target_names, "stderr",
           "Where the log goes. On stderr lines carry the journal's priorities when systemd reads them."),
    DAEMON("user", user, KEY_STRING, 0, 63, NULL, "",
           "Who the daemon is once it has started, when it was started as root; root: it stays so, without root's "
           "capabilities. What needs rights is done by a process beside it. Empty: nbd-proxy, if there is such a user, else root."),
    DAEMON("runtime-dir", runtime_dir, KEY_STRING, 1, 90, NULL, "/run/nbd-proxy",
           "The folder of the sockets. It must exist; nobody else should be able to write to it."),
    DAEMON("control-socket", control_socket, KEY_STRING, 0, 107, NULL, "",
           "The control socket's path. Empty: control.sock in runtime-dir."),
    DAEMON("control-mode", control_mode, KEY_MODE, 0, 0777, NULL, "0600", "The control socket's mode, in octal."),
    DAEMON("control-group", control_group, KEY_GROUP, 0, 64, NULL, "",
           "The control socket's group. Its members are served beside root and the daemon's own user; "
           "set control-mode = 0660 with it."),
    DAEMON("control-connections", control_connections, KEY_UINT, 1, 256, NULL, "16",
           "Clients of the control socket at a time."),
    DAEMON("cache-size", cache_size, KEY_SIZE, 8ull << 20, 64ull << 30, NULL, "64M",
           "Memory for cached blocks, all slots together."),
    DAEMON("cache-slot-minimum", cache_slot_minimum, KEY_SIZE, 0, 1ull << 30, NULL, "4M",
           "What each image keeps of the cache however busy the others are."),
    DAEMON("step-timeout", step_timeout_ms, KEY_DURATION, 1000, MINUTES(60), NULL, "60s",
           "A call to the kernel (connecting the device, taking out the medium) that takes longer is helped to its end: "
           "what the host still reads fails."),
    DAEMON("state-secrets", state_secrets, KEY_BOOL, 0, 0, NULL, "no",
           "Let runtime-dir/state.json (mode 0600) hold passwords, tokens and URLs with a query, so that a medium inserted "
           "with them goes on after the daemon was killed and started again. The same holds for what Redfish keeps of slots' "
           "client certificates and of event subscriptions, beside the users file."),
    DAEMON("profile-directory", profile_directory, KEY_STRING, 0, 4000, NULL, "/var/lib/nbd-proxy/profiles",
           "The folder in which boot profiles are kept: 64 of at most 16 KiB, those that were used last. Made when it is "
           "needed. Empty: none are kept."),
    DAEMON("file-directory", file_directory, KEY_FOLDER, 0, 4095, NULL, "",
           "When set, only local files below this folder may be inserted, symbolic links resolved."),

    WEB("listen", listen, KEY_ADDRESSES, 0, 1000, NULL, "",
        "Where the web page and its API are served by HTTPS: addresses like [::]:443, 192.0.2.1:443 or 127.0.0.1:0, "
        "separated by blanks. One that no interface has yet is served from when one has. Empty, with listen-plain "
        "empty too: no web server. Sockets that systemd hands over are served beside them. Without an account in "
        "users-file, and without accounts = pam, only loopback addresses are allowed."),
    WEB("listen-plain", listen_plain, KEY_ADDRESSES, 0, 1000, NULL, "",
        "The same by plain HTTP, for a proxy on this machine that speaks TLS: loopback addresses, and unix:/PATH."),
    WEB("trusted-proxies", trusted_proxies, KEY_STRING, 0, 1000, NULL, "",
        "Proxies in front, as addresses and prefixes like 192.0.2.1 10.0.0.0/8, separated by blanks: what they say in "
        "Forwarded or X-Forwarded-For of who asks is believed, for locks, limits and the log, and in Forwarded or "
        "X-Forwarded-Host of what the page's Host was. A proxy on a UNIX socket is "
        "one without being named. It must set one of these fields, or append to it, for every request."),
    WEB("certificate", certificate, KEY_FILE, 0, 4095, NULL, "",
        "A PEM file: the server's certificate and those between it and its root; read again at a reload. Empty: one that "
        "is made at the first start, signed by itself, and kept as certificate.pem beside users-file. It is made anew, for the "
        "same key, when it is about to end, when the clock was not set before, and when the host has a further name or address; "
        "the log and the page say its SHA-256 fingerprint."),
    WEB("certificate-key", certificate_key, KEY_FILE, 0, 4095, NULL, "",
        "A PEM file: the certificate's key. Empty: in the certificate's file, or made with it."),
    WEB("client-ca", client_ca, KEY_FILE, 0, 4095, NULL, "",
        "A PEM file: who may sign certificates of clients. The common name of such a certificate is the name of an "
        "account, which needs no password then. Empty: clients are not asked for one."),
    WEB("client-certificates", client_certificates, KEY_ENUM, CLIENT_CERTIFICATES_OPTIONAL, 0, client_certificates_names,
        "optional", "With client-ca: whether a client without a certificate may come with a password."),
    WEB("accounts", accounts, KEY_SET, 0, 0, accounts_names, "file",
        "Whose accounts log in: those of users-file, the system's (pam, in a build --with-pam: its service nbd-proxy checks "
        "the password), or both, where the file's account goes before one of the system's of the same name."),
    WEB("administrator-groups", administrator_groups, KEY_STRING, 0, 500, NULL, "priv-admin",
        "With accounts = pam: the system's groups, separated by blanks, whose members are Administrators. Who is in groups "
        "of several roles has the highest; who is in none can't log in."),
    WEB("operator-groups", operator_groups, KEY_STRING, 0, 500, NULL, "priv-operator", "The same for Operators."),
    WEB("read-only-groups", read_only_groups, KEY_STRING, 0, 500, NULL, "priv-user", "The same for the role ReadOnly."),
    WEB("users-file", users_file, KEY_STRING, 0, 4000, NULL, "",
        "The accounts, as nbd-proxy passwd keeps them. Empty: the file that it changes without an option."),
    WEB("password-min-length", password_min_length, KEY_UINT, 1, 64, NULL, "8",
        "How many characters a password needs that is set over Redfish; nbd-proxy passwd has an option for it."),
    WEB("session-idle", session_idle_ms, KEY_DURATION, 10000, MINUTES(1440), NULL, "30m",
        "A login that is not used for that long ends. An open page and a browser's medium are use."),
    WEB("session-age", session_age_ms, KEY_DURATION, 10000, MINUTES(43200), NULL, "24h",
        "A login ends after that long, used or not; the page says so 10 minutes ahead. A medium that its browser serves stays."),
    WEB("redfish-async-after", async_after_ms, KEY_DURATION, 0, MINUTES(10), NULL, "0s",
        "Redfish: an insert that takes longer is answered 202, and goes on as a task. 0s: the answer always comes when the "
        "image is readable, or why it is not. A client can ask for a task (Prefer: respond-async) in any case."),
    WEB("origins", origins, KEY_STRING, 0, 1000, NULL, "",
        "Other sites, like https://console.example.org, whose pages may open WebSockets here, separated by blanks."),
    WEB("root-slot", root_slot, KEY_STRING, 0, 31, NULL, "",
        "The slot of a WebSocket that is opened at /, as jsnbd's demonstration page does. Empty: none."),
    WEB("web-connections", connections, KEY_UINT, 4, 1024, NULL, "64", "Connections to the web server at a time. When all are taken, one that nobody has logged in on is closed for the next."),
    WEB("web-connections-each", connections_each, KEY_UINT, 2, 1024, NULL, "48", "The same of one address. Those of a proxy in front count for whom it asks."),
    WEB("web-directory", directory, KEY_FOLDER, 0, 4095, NULL, "", "The page's files. Empty: as installed."),
    WEB("metrics", metrics, KEY_ENUM, METRICS_LOGIN, 0, metrics_names, "login",
        "Who may have /metrics, for Prometheus: who logs in (any role will do), beside them also without a login who asks from "
        "this machine itself, by loopback or a UNIX socket and not through a proxy (local), or nobody (no)."),
    WEB("upload-directory", upload_directory, KEY_STRING, 0, 4000, NULL, "",
        "Where images are kept that are uploaded; the folder is made if it is missing. Empty: no uploads."),
    WEB("upload-size", upload_size, KEY_SIZE, 1ull << 20, 1ull << 50, NULL, "8G", "What all uploads may take together."),
    WEB("upload-free", upload_free, KEY_SIZE, 0, 1ull << 50, NULL, "64M",
        "What uploads leave free on their file system."),

    DBUS("bus", bus, KEY_STRING, 1, 500, NULL, "none",
         "The D-Bus bus on which bmcweb drives the slots: none, system, session, or an address like "
         "unix:path=/run/dbus/system_bus_socket."),
    DBUS("name", name, KEY_STRING, 1, 255, NULL, "xyz.openbmc_project.VirtualMedia",
         "The well-known name that is asked for there."),
    DBUS("proxy-directory", proxy_directory, KEY_STRING, 0, 80, NULL, "",
         "The folder in which bmcweb listens on a UNIX socket for each browser that it serves. It is made when it is "
         "missing. Empty: proxy in runtime-dir."),
    DBUS("proxy-mode", proxy_mode, KEY_MODE, 0, 0777, NULL, "0700",
         "The mode, in octal, of a folder that is made, or is the one in runtime-dir: who may make sockets in it may "
         "serve media."),
    DBUS("legacy-numbers", legacy_numbers, KEY_ENUM, LEGACY_NUMBERS_AFTER, 0, legacy_numbers_names, "after",
         "The N in Legacy/Slot_N, where images come in by URL: after the last Proxy/Slot_N (with two slots the first is "
         "Legacy/Slot_2), since bmcweb knows a slot by that name alone; or the same as there."),
    DBUS("mount-timeout", mount_timeout_ms, KEY_DURATION, 1000, MINUTES(60), NULL, "90s",
         "A Mount that takes longer is given up. It is the property Timeout."),

    HOST("hook", hook, KEY_STRING, 0, 4095, NULL, "",
         "An executable of the platform that switches the host's power and sets its boot source; nbd-proxy.conf(5) says "
         "how it is called. It belongs to root or to who starts the daemon, and nobody else may write to it."),
    HOST("dbus", dbus, KEY_STRING, 0, 500, NULL, "",
         "In place of a hook, the bus on which OpenBMC's services for that are: system, session, or an address like "
         "unix:path=/run/dbus/system_bus_socket."),
    HOST("host-timeout", timeout_ms, KEY_DURATION, 100, MINUTES(10), NULL, "10s",
         "How long the platform may take for one request; then a hook is ended."),
    HOST("serial", serial, KEY_STRING, 0, 127, NULL, "",
         "The host's serial number, for {serial} in kernel arguments and config media. Empty: as the hook says."),
    HOST("uuid", uuid, KEY_STRING, 0, 127, NULL, "", "The same for {uuid}."),
    HOST("mac", mac, KEY_STRING, 0, 127, NULL, "", "The same for {mac}: the address of the network card that the host boots by."),

    HTTP("http-connections", connections, KEY_UINT, 1, 64, NULL, "16", "Ranges that are fetched at a time, for one slot. By "
         "FTP and SFTP 4 connections at most are made."),
    HTTP("http-version", version, KEY_ENUM, HTTP_VERSION_AUTO, 0, version_names, "auto",
         "The protocol: 1.1 uses one connection for each range in flight, 2 one for all. auto takes what is measured "
         "to be faster, now 1.1."),
    HTTP("protocols", protocols, KEY_SET, 0, 0, protocol_names, "https http sftp ftps ftp nfs smb",
         "By which protocols images may come from other machines, separated by blanks; none is for a slot of browsers and "
         "uploads. http, ftp and nfs have neither encryption nor a check of who answers; they are in the list since many "
         "images are in a network of their own, and are best left out where that is not so. A redirect never leads from https to http. One that this build or its "
         "libcurl lacks is refused when it is asked for."),
    HTTP("ftp-tls", ftp_tls, KEY_ENUM, FTP_TLS_NO, 0, ftp_tls_names, "try",
         "Whether ftp:// uses TLS (AUTH TLS): never, if the server has it, or always. Only "
         "required keeps somebody on the way from switching it off. ftps:// is TLS from the first byte."),
    HTTP("allow-local", local, KEY_ENUM, LOCAL_NO, 0, local_names, "no",
         "Whether images may come from this machine itself (loopback, an address of one of its interfaces, what else its "
         "routes take for local, 64:ff9b:1::/48) and from link-local addresses (169.254.0.0/16, fe80::/10): no, from "
         "link-local ones only (link), or yes. It holds for every way to insert an image, and for where redirects and names lead to. Multicast is always refused. With a proxy it is "
         "the proxy that says what may be reached."),
    HTTP("redirects", redirects, KEY_UINT, 0, 20, NULL, "3", "Redirects that are followed when an image is inserted."),
    HTTP("ca-file", ca_file, KEY_FILE, 0, 4095, NULL, "",
         "A PEM file with the certificate authorities to trust. Empty: the system's."),
    HTTP("verify-certificate", verify, KEY_BOOL, 0, 0, NULL, "yes",
         "Check the server's certificate and its name, or an SSH server's host key. Without it anybody on the way can change "
         "the image."),
    HTTP("client-certificate", login.client_cert, KEY_FILE, 0, 4095, NULL, "",
         "A PEM file: our certificate for the server of the configured image."),
    HTTP("client-key", login.client_key, KEY_FILE, 0, 4095, NULL, "", "A PEM file: the key of client-certificate."),
    HTTP("user", login.user, KEY_STRING, 0, 1024, NULL, "",
         "The user name for the server of the configured image: same protocol, host and port."),
    HTTP("password", login.password, KEY_SECRET, 0, 1024, NULL, "", "The user's password."),
    HTTP("ssh-known-hosts", ssh_known_hosts, KEY_FILE, 0, 4095, NULL, "",
         "A file with the host keys of SFTP servers, as OpenSSH's known_hosts, without patterns. A server that neither it "
         "nor ssh-host-key knows is refused."),
    HTTP("ssh-host-key", ssh_host_key, KEY_STRING, 0, 1000, NULL, "",
         "Fingerprints of SFTP servers' host keys, like SHA256:..., separated by blanks: what ssh-keygen -l prints."),
    HTTP("ssh-key", login.ssh_key, KEY_FILE, 0, 4095, NULL, "",
         "A file with the private key for the configured image's SFTP server, without a pass phrase: ed25519 or ECDSA, with libssh2 1.11 RSA "
         "too. No agent is asked, and no other key is tried."),
    HTTP("bearer-token", login.bearer_token, KEY_SECRET, 0, 16000, NULL, "", "A token that is sent instead of user and password."),
    HTTP("http-auth", auth, KEY_ENUM, HTTP_AUTH_ANY, 0, auth_names, "any",
         "How user and password are sent. any takes the strongest that the server offers."),
    HTTP("validator", validator, KEY_ENUM, VALIDATOR_ETAG, 0, validator_names, "etag",
         "What tells versions of an image on an HTTP server apart: its ETag (its time where there is none), or, for farms of "
         "servers whose ETags differ for the same bytes, only the time, Last-Modified, of a second's resolution. "
         "Where an insert sees that ETags of parts differ and their times don't, the time is used by itself, with a warning. "
         "The size counts always."),
    HTTP("smb-encryption", smb_encryption, KEY_ENUM, SMB_ENCRYPTION_AUTO, 0, smb_encryption_names, "auto",
         "Of images on SMB shares: auto encrypts when the server asks for it, required reads nothing in clear (SMB3, "
         "AES-128-CCM). Without encryption what a user reads is signed; a guest's is not."),
    HTTP("proxy", proxy, KEY_SECRET, 0, 4096, NULL, "",
         "The URL of an HTTP or SOCKS proxy for http:// and https://; with it FTP and SFTP are refused. The environment's "
         "http_proxy is not used."),
    HTTP("connect-timeout", connect_timeout_ms, KEY_DURATION, 100, MINUTES(10), NULL, "10s",
         "How long connecting may take, TLS included."),
    HTTP("stall-timeout", stall_timeout_ms, KEY_DURATION, 1000, MINUTES(10), NULL, "10s",
         "A transfer without a byte for that long is given up and tried again."),
    HTTP("io-timeout", io_timeout_ms, KEY_DURATION, 100, MINUTES(60), NULL, "25s",
         "How long a read may take, with all its tries, before the host gets an I/O error. A host's own limit is "
         "30 seconds. Trying goes on in the background, so that a later read succeeds."),
    HTTP("readahead", readahead, KEY_BOOL, 0, 0, NULL, "yes", "Fetch what will be read next before it is asked for."),
    HTTP("fetch-align", align, KEY_BOOL, 0, 0, NULL, "yes",
         "No request crosses a multiple of 1 MiB of the image, so that a cache on the way that keeps slices (nginx, for a rack "
         "of BMCs) needs one slice for it. With http-connections of 4 or less longer ranges are asked for all the same."),
    HTTP("boot-profile", profile, KEY_ENUM, PROFILE_NO, 0, profile_names, "own",
         "What a boot from an image reads is noted, and fetched ahead at the next boot from it: no notes nothing, own uses "
         "what was noted here, auto also looks for a profile beside an image that is new here, at its URL with .boot-profile "
         "behind it."),
    HTTP("nfs-version", nfs_version, KEY_ENUM, NFS_VERSION_AUTO, 0, nfs_version_names, "auto",
         "NFS: the version that is spoken, where the URL does not say. auto is 4, and 3 with a server that does not speak 4 "
         "or has the image's path in version 3 only."),
    HTTP("nfs-uid", nfs_uid, KEY_UINT, 0, UINT32_MAX - 1, NULL, "65534",
         "NFS: the user's number that the server is told, where the URL does not say. That is 'nobody': an image that "
         "everybody may read."),
    HTTP("nfs-gid", nfs_gid, KEY_UINT, 0, UINT32_MAX - 1, NULL, "65534", "NFS: the group's number, likewise."),
    HTTP("nfs-ids", nfs_ids, KEY_BOOL, 0, 0, NULL, "no",
         "NFS: whether everybody who may insert an image may say in its URL with whose numbers it is read (uid=, gid=). "
         "Else that is for Administrators, for root and the daemon's own user on the control socket, and for this file."),

    CREDENTIALS("origin", origin, KEY_STRING, 0, 4095, NULL, "",
                "What they are for: SCHEME://HOST[:PORT][/PATH], like https://images.example.com:8443/prod/. The path holds "
                "for what is below it, name by name. They are sent nowhere else, wherever redirects lead."),
    CREDENTIALS("user", login.user, KEY_STRING, 0, 1024, NULL, "", "The user name; for SMB also DOMAIN\\USER."),
    CREDENTIALS("password", login.password, KEY_SECRET, 0, 1024, NULL, "", "The user's password."),
    CREDENTIALS("bearer-token", login.bearer_token, KEY_SECRET, 0, 16000, NULL, "",
                "A token that is sent instead of user and password."),
    CREDENTIALS("client-certificate", login.client_cert, KEY_FILE, 0, 4095, NULL, "", "A PEM file: our certificate."),
    CREDENTIALS("client-key", login.client_key, KEY_FILE, 0, 4095, NULL, "", "A PEM file: the key of client-certificate."),
    CREDENTIALS("ssh-key", login.ssh_key, KEY_FILE, 0, 4095, NULL, "",
                "For sftp://: a file with the private key, without a pass phrase."),

    SLOT("media", media, KEY_ENUM, MEDIA_CD, 0, media_names, "cd", "What the host is shown: a CD/DVD drive or a USB disk."),
    SLOT("attach", attach, KEY_ENUM, ATTACH_AUTO, 0, attach_names, "auto",
         "How the medium is shown: socket is an NBD UNIX socket; nbd is /dev/nbdN beside it; usb is a USB drive at the "
         "host, made of that device. auto takes the best that the machine can do: usb with a USB device controller, nbd "
         "with the kernel's nbd module, both as root, else socket."),
    SLOT("socket", socket, KEY_STRING, 0, 107, NULL, "", "The NBD socket's path. Empty: NAME.sock in runtime-dir."),
    SLOT("socket-mode", socket_mode, KEY_MODE, 0, 0777, NULL, "0600", "The NBD socket's mode, in octal."),
    SLOT("socket-group", socket_group, KEY_GROUP, 0, 64, NULL, "", "The NBD socket's group."),
    SLOT("nbd-device", device, KEY_STRING, 0, 31, NULL, "",
         "The device, like /dev/nbd3. Empty: /dev/nbdN, N being the slot's number."),
    SLOT("nbd-connections", device_connections, KEY_UINT, 1, 8, NULL, "2", "Connections between the device and the daemon."),
    SLOT("nbd-readahead", device_readahead, KEY_SIZE, 0, 64ull << 20, NULL, "512K",
         "What the kernel reads ahead on the device. The daemon reads further ahead by itself."),
    SLOT("restart-grace", restart_grace_ms, KEY_DURATION, 1000, MINUTES(10), NULL, "25s",
         "How long the host's reads wait for a daemon that was killed, or stopped by quit --keep, to be started again; "
         "then they fail. A host's own limit is 30 seconds."),
    SLOT("usb-gadget", usb.gadget, KEY_STRING, 0, CONFIG_GADGET_MAX - 1, NULL, "",
         "USB: the gadget's name, a folder in configfs: letters, digits, _ and -. Empty: nbd-proxy- and the slot's name. "
         "What has that name already is taken for a crash's remains, and removed. A change needs a restart."),
    SLOT("usb-function", usb.function, KEY_STRING, 1, CONFIG_FUNCTION_MAX - 1, NULL, "0",
         "USB: the name of the gadget's function, behind mass_storage. with a dot between; letters as above."),
    SLOT("usb-controller", usb.controller, KEY_STRING, 0, 127, NULL, "",
         "The USB device controllers that may be used, as patterns like dwc2* or 1e6a0000.usb-vhub:p[1-3], separated by "
         "blanks, the best first. Empty: any. One that is busy is passed over."),
    SLOT("usb-present", usb.present, KEY_ENUM, PRESENT_ALWAYS, 0, present_names, "always",
         "Whether the host sees the drive always, or only with a medium in it."),
    SLOT("usb-cdrom", usb.cdrom, KEY_ENUM, CDROM_AUTO, 0, cdrom_names, "auto",
         "Whether a drive with media = cd is a CD-ROM for the host. The kernel shows 2359293952 bytes of a CD at most: "
         "auto shows a larger image as a USB disk that can't be written to, yes refuses it, no shows each as a disk."),
    SLOT("usb-vendor-id", usb.vendor_id, KEY_HEX, 0, 0xffff, NULL, "0x1d6b", "USB: idVendor."),
    SLOT("usb-product-id", usb.product_id, KEY_HEX, 0, 0xffff, NULL, "0x0104", "USB: idProduct."),
    SLOT("usb-manufacturer", usb.manufacturer, KEY_STRING, 1, 63, NULL, "nbd-proxy", "USB: the manufacturer's name."),
    SLOT("usb-product", usb.product, KEY_STRING, 1, 63, NULL, "Virtual Media", "USB: the product's name."),
    SLOT("usb-serial", usb.serial, KEY_STRING, 0, 63, NULL, "",
         "USB: the serial number. Empty: made from the machine's id and the slot's name."),
    SLOT("usb-inquiry", usb.inquiry, KEY_STRING, 0, 28, NULL, "",
         "SCSI: 8 characters of vendor, 16 of model, 4 of revision. Empty: \"nbd-prxyVirtual CD/DVD\" or "
         "\"nbd-prxyVirtual Disk\"."),
    SLOT("usb-power", usb.power, KEY_UINT, 0, 500, NULL, "100", "USB: MaxPower in mA."),
    SLOT("usb-fua", usb.fua, KEY_BOOL, 0, 0, NULL, "yes", "Honour the host's forced unit access in writes."),
    SLOT("eject-patience", usb.eject_patience_ms, KEY_DURATION, 0, MINUTES(5), NULL, "5s",
         "How long a host that locks the medium is waited for at an eject; then it is taken out by force."),
    SLOT("writable", writable, KEY_BOOL, 0, 0, NULL, "no", "Let writes reach an image that can be written to (a local file)."),
    SLOT("overlay", overlay, KEY_ENUM, OVERLAY_AUTO, 0, overlay_names, "auto",
         "Let the host write to any image without changing it: what it writes is kept in memory, or in a file of "
         "overlay-directory. In memory it is lost with the daemon, and such a medium does not go on after a restart. auto: in "
         "memory, where media = disk and an insert wants an image on another machine writable; else none."),
    SLOT("overlay-size", overlay_size, KEY_SIZE, 1ull << 20, 1ull << 40, NULL, "64M",
         "How much may be written to the overlay; then writes fail, as on a full disk. Memory is taken as it is needed, "
         "beside cache-size."),
    SLOT("overlay-keep", overlay_keep, KEY_BOOL, 0, 0, NULL, "no",
         "Keep the overlay's file at the eject: the next insert of the same URL goes on with what was written."),
    SLOT("overlay-directory", overlay_directory, KEY_STRING, 1, 4000, NULL, "/var/lib/nbd-proxy",
         "The folder of overlay files. It must exist."),
    SLOT("reconnect-grace", reconnect_grace_ms, KEY_DURATION, 0, MINUTES(60), NULL, "25s",
         "How long the host's reads wait for a browser whose connection was lost; one that comes back with the same file "
         "goes on without the host's noticing. A browser that is connected, but answers no read for four times "
         "io-timeout, is hung up on and counts as lost."),
    SLOT("reconnect-stay", reconnect_stay, KEY_BOOL, 0, 0, NULL, "no",
         "After reconnect-grace, keep the medium in and answer reads with errors until the browser is back, instead of "
         "ejecting it."),
    SLOT("browser-request", browser_request, KEY_SIZE, 4096, 16ull << 20, NULL, "256K",
         "How much is asked of a browser at a time. A web server in front of us may allow 128K only."),
    SLOT("browser-window", browser_window, KEY_SIZE, 64ull << 10, 256ull << 20, NULL, "8M",
         "How much is under way from a browser at a time."),
    SLOT("max-connections", max_connections, KEY_UINT, 1, 64, NULL, "16", "NBD clients at a time."),
    SLOT("idle-timeout", idle_timeout_ms, KEY_DURATION, 0, MINUTES(1440), NULL, "0s",
         "An NBD client without a request for that long is disconnected. 0s: never."),
    SLOT("image", image, KEY_IMAGE, 0, 8191, NULL, "",
         "The URL or path of an image that is inserted when the daemon starts. While that can't be done it is tried again, "
         "until it is in, or until something is inserted or ejected."),
    SLOT("kernel-args", kernel_args, KEY_STRING, 0, 2000, NULL, "",
         "Further arguments for the kernels that this image boots (nbd-proxy-control(7), KERNEL ARGUMENTS). Images that are "
         "inserted otherwise have their own."),
    SLOT("menu-timeout", menu_timeout, KEY_STRING, 0, 4, NULL, "",
         "The seconds that this image's boot menus wait before they boot their default. Empty: as the image has it."),
    SLOT("menu-default", menu_default, KEY_STRING, 0, 200, NULL, "",
         "The entry that they boot then: its title, id, label or number (nbd-proxy-control(7), KERNEL ARGUMENTS). Empty: as the "
         "image has it."),
    SLOT("image-files", image_files, KEY_STRING, 0, 8191, NULL, "",
         "What else is changed on this image: JSON of paths and contents or lines, or the URL or path of such "
         "(nbd-proxy-control(7), FILES OF AN IMAGE)."),
    SLOT("config", config, KEY_IMAGE, 0, 8191, NULL, "",
         "In place of image: the URL or path of a JSON or tar whose files become a config medium (nbd-proxy-control(7), CONFIG "
         "MEDIA), which is inserted when the daemon starts."),
    SLOT("config-kind", config_kind, KEY_STRING, 0, 15, NULL, "",
         "Who is to read it: cidata, config-2, OEMDRV, ignition or autounattend."),
    SLOT("config-label", config_label, KEY_STRING, 0, 32, NULL, "", "Its volume label. Empty: that of its kind, or CONFIG."),
    SLOT("network-data", network_data, KEY_STRING, 0, 4000, NULL, "",
         "The host's address as JSON (nbd-proxy-control(7), NETWORK DATA), for the kernels of image or the files of config."),
    SLOT("network-kind", network_kind, KEY_STRING, 0, 16, NULL, "",
         "How the kernels are told: ip, debian-installer or provisioner. Empty: ip."),
    SLOT("eject-after", eject_after_ms, KEY_DURATION, 0, MINUTES(43200), NULL, "0s",
         "A medium that has been in for that long is ejected, unless its insert said otherwise (Redfish: EjectPolicy). "
         "0s: it stays until somebody ejects it."),
};
const unsigned config_key_count = sizeof config_keys / sizeof config_keys[0];

static bool legal_in(const struct key *key, enum key_section section)
{
    return key->section == section || (section == KEY_SLOT && key->section == KEY_HTTP);
}

const struct key *key_find(enum key_section section, const char *name)
{
    for (unsigned i = 0; i < config_key_count; i++)
        if (legal_in(&config_keys[i], section) && strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    return NULL;
}

/* Levenshtein's distance, for names shorter than 32. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[33];
    size_t n = strlen(b);
    if (n > 32 || strlen(a) > 32)
        return 99;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < n; j++) {
            unsigned best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            if (row[j] + 1 < best)
                best = row[j] + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

const char *key_suggest(enum key_section section, const char *name)
{
    unsigned least = 4;
    const char *best = NULL;
    for (unsigned i = 0; i < config_key_count; i++) {
        unsigned d = legal_in(&config_keys[i], section) ? distance(name, config_keys[i].name) : 99;
        if (d < least) {
            least = d;
            best = config_keys[i].name;
        }
    }
    return best;
}

bool config_allows_protocol(const struct config_http *http, const char *protocol)
{
    for (int i = 0; protocol_names[i]; i++)
        if (strcmp(protocol_names[i], protocol) == 0)
            return http->protocols & 1ull << i;
    return false;
}

uint64_t key_bit(const struct key *key)
{
    unsigned first = 0;
    while (config_keys[first].section != KEY_HTTP)
        first++;
    return 1ull << (unsigned)(key - config_keys - (long)first);
}
