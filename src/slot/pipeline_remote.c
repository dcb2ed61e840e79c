/* Images on other machines. See slot/pipeline_remote.h. */
#include "slot/pipeline_remote.h"

#include <build-config.h>
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "remote/ftp/ftp.h"
#include "remote/http/http.h"
#include "remote/nfs/address.h"
#include "remote/nfs/nfs.h"
#include "remote/place.h"
#include "remote/remote.h"
#include "remote/sftp/sftp.h"
#include "remote/smb/smb.h"

/* --- what each protocol is told --- */

static struct slot_login choose(const struct pipeline_context *context, const struct config_slot *config,
                                        const char *url, const struct slot_insert_options *options)
{
    struct slot_login login;
    slot_credentials_choose(context->credentials, config, url, options, &login);
    if (login.section)
        log_info(config->name, "the image is of the origin of [credentials %s]", login.section);
    return login;
}

static enum address_local local_policy(const struct config_http *http)
{
    static const enum address_local locals[] = {
        [LOCAL_NO] = ADDRESS_LOCAL_NONE, [LOCAL_LINK] = ADDRESS_LOCAL_LINK, [LOCAL_YES] = ADDRESS_LOCAL_ALL};
    return locals[http->local];
}

static const char *ca_file_of(const struct config_http *http, const struct slot_insert_options *options)
{
    return options->ca_file ? options->ca_file : http->ca_file;
}

static struct source *http_reader(const struct pipeline_context *context, const struct config_slot *config,
                                  const char *url, const struct slot_insert_options *options,
                                  char problem[LOCATION_ERROR_MAX])
{
    static const enum http_use versions[] = {
        [HTTP_VERSION_AUTO] = HTTP_USE_ANY, [HTTP_VERSION_1_1] = HTTP_USE_1_1, [HTTP_VERSION_2] = HTTP_USE_2};
    static const enum http_scheme schemes[] = {
        [HTTP_AUTH_ANY] = HTTP_SCHEME_ANY, [HTTP_AUTH_BASIC] = HTTP_SCHEME_BASIC, [HTTP_AUTH_DIGEST] = HTTP_SCHEME_DIGEST};
    const struct config_http *http = &config->http;
    struct slot_login who = choose(context, config, url, options);
    (void)problem;
    struct http_options own = {
        .url = url,
        .version = versions[http->version],
        .allow_plain = config_allows_protocol(http, "http"),
        .redirects = (unsigned)http->redirects,
        .verify = pipeline_option(options->verify, http->verify),
        .ca_file = ca_file_of(http, options),
        .ca_pem = options->ca_pem,
        .client_pem = options->client_pem,
        .client_cert = who.client_cert,
        .client_key = who.client_key,
        .user = who.user,
        .password = who.password,
        .bearer_token = who.bearer_token,
        .key_origin = who.key_origin,
        .login_origin = who.login_origin,
        .scheme = schemes[http->auth],
        .by_time = http->validator == VALIDATOR_LAST_MODIFIED,
        .proxy = http->proxy,
        .local = local_policy(http),
        .connect_timeout_ms = http->connect_timeout_ms,
        .stall_timeout_ms = http->stall_timeout_ms,
        .connections = (unsigned)http->connections,
        .io_timeout_ms = http->io_timeout_ms,
    };
    return http_source_new(context->curl, config->name, &own);
}

static struct lines_options lines_options(const struct config_http *http, const char *url, const struct slot_login *who)
{
    return (struct lines_options){
        .url = url,
        .user = who->user,
        .password = who->password,
        .proxied = http->proxy && *http->proxy,
        .local = local_policy(http),
        .connect_timeout_ms = http->connect_timeout_ms,
        .stall_timeout_ms = http->stall_timeout_ms,
        .io_timeout_ms = http->io_timeout_ms,
    };
}

static struct source *ftp_reader(const struct pipeline_context *context, const struct config_slot *config,
                                 const char *url, const struct slot_insert_options *options,
                                 char problem[LOCATION_ERROR_MAX])
{
    static const enum ftp_security securities[] = {[FTP_TLS_NO] = FTP_SECURITY_NONE,
                                                   [FTP_TLS_TRY] = FTP_SECURITY_TRIED,
                                                   [FTP_TLS_REQUIRED] = FTP_SECURITY_REQUIRED};
    const struct config_http *http = &config->http;
    struct slot_login who = choose(context, config, url, options);
    if (!place_check(url, problem, LOCATION_ERROR_MAX))
        return NULL;
    struct ftp_options ftp = {
        .lines = lines_options(http, url, &who),
        .security = securities[http->ftp_tls],
        .verify = pipeline_option(options->verify, http->verify),
        .ca_file = ca_file_of(http, options),
        .ca_pem = options->ca_pem,
        .client_cert = who.client_cert,
        .client_key = who.client_key,
        .connections = (unsigned)http->connections,
    };
    return ftp_source_new(context->loop, config->name, &ftp);
}

#ifdef HAVE_LIBSSH2
static struct source *sftp_reader(const struct pipeline_context *context, const struct config_slot *config,
                                  const char *url, const struct slot_insert_options *options,
                                  char problem[LOCATION_ERROR_MAX])
{
    const struct config_http *http = &config->http;
    struct slot_login who = choose(context, config, url, options);
    if (!place_check(url, problem, LOCATION_ERROR_MAX))
        return NULL;
    struct sftp_options sftp = {
        .lines = lines_options(http, url, &who),
        .verify = pipeline_option(options->verify, http->verify),
        .known_hosts = http->ssh_known_hosts,
        .host_key = http->ssh_host_key,
        .key = who.ssh_key,
        .connections = (unsigned)http->connections,
    };
    return sftp_source_new(context->loop, config->name, &sftp);
}
#else
#define sftp_reader NULL
#endif

static struct source *nfs_reader(const struct pipeline_context *context, const struct config_slot *config,
                                   const char *url, const struct slot_insert_options *options,
                                   char problem[LOCATION_ERROR_MAX])
{
    static const unsigned versions[] = {[NFS_VERSION_AUTO] = 0, [NFS_VERSION_3] = 3, [NFS_VERSION_4] = 4};
    const struct config_http *http = &config->http;
    struct nfs_source_options nfs = {
        .url = url,
        .version = versions[http->nfs_version],
        .uid = (uint32_t)http->nfs_uid,
        .gid = (uint32_t)http->nfs_gid,
        .local = local_policy(http),
        .connect_timeout_ms = http->connect_timeout_ms,
        .stall_timeout_ms = http->stall_timeout_ms,
        .connections = (unsigned)http->connections,
        .io_timeout_ms = http->io_timeout_ms,
    };
    if (options->user || options->password || options->bearer_token) {
        snprintf(problem, LOCATION_ERROR_MAX,
                 "NFS takes no user, password or token (say who reads by uid= and gid= in the URL)");
        return NULL;
    }
    return nfs_source_new(context->loop, config->name, &nfs, problem);
}

#ifdef HAVE_LIBSMB2
static struct source *smb_reader(const struct pipeline_context *context, const struct config_slot *config,
                                   const char *url, const struct slot_insert_options *options,
                                   char problem[LOCATION_ERROR_MAX])
{
    const struct config_http *http = &config->http;
    struct slot_login who = choose(context, config, url, options);
    struct smb_source_options smb = {
        .url = url,
        .user = who.user,
        .password = who.password,
        .must_seal = http->smb_encryption == SMB_ENCRYPTION_REQUIRED,
        .local = local_policy(http),
        .requests = (unsigned)http->connections,
        .connect_timeout_ms = http->connect_timeout_ms,
        .stall_timeout_ms = http->stall_timeout_ms,
        .io_timeout_ms = http->io_timeout_ms,
    };
    (void)problem; /* opening says what is wrong */
    return smb_source_new(context->loop, config->name, &smb);
}
#else
#define smb_reader NULL
#endif

/* --- by protocol --- */

/* NULL: the URL can't be read, and `problem` says why. */
typedef struct source *remote_reader_new(const struct pipeline_context *context, const struct config_slot *config,
                                           const char *url, const struct slot_insert_options *options,
                                           char problem[LOCATION_ERROR_MAX]);

/* NULL: such an image is on no other machine, or this build does not speak the protocol. */
static remote_reader_new *remote_reader_of(enum location_kind kind)
{
    static remote_reader_new *const readers[] = {
        [LOCATION_HTTPS] = http_reader, [LOCATION_HTTP] = http_reader, [LOCATION_FTPS] = ftp_reader,
        [LOCATION_FTP] = ftp_reader,    [LOCATION_SFTP] = sftp_reader, [LOCATION_NFS] = nfs_reader,
        [LOCATION_SMB] = smb_reader,
    };
    return (size_t)kind < sizeof readers / sizeof *readers ? readers[kind] : NULL;
}

bool pipeline_has(enum location_kind kind)
{
    return remote_reader_of(kind);
}

bool pipeline_speaks(const struct config_slot *config, enum location_kind kind)
{
    return remote_reader_of(kind) && config_allows_protocol(&config->http, location_name(kind));
}

/* An NFS server believes the uid and gid that it is told, so not everybody may choose them. */
static bool may_say_who_reads(const struct config_slot *config, enum location_kind kind, const char *url,
                              const struct slot_insert_options *options)
{
    struct nfs_address address;
    char problem[NFS_ADDRESS_ERROR_MAX]; /* opening says what is wrong */
    return kind != LOCATION_NFS || options->nfs_ids || config->http.nfs_ids ||
           !nfs_address_parse(url, &address, problem) || (address.uid < 0 && address.gid < 0);
}

/* False: the image may not be read, and `problem` says why. */
static bool may_be_read(const struct config_slot *config, enum location_kind kind, const char *url,
                        const struct slot_insert_options *options, char problem[LOCATION_ERROR_MAX])
{
    const char *name = location_name(kind);
    *problem = '\0';
    if (!config_allows_protocol(&config->http, name))
        snprintf(problem, LOCATION_ERROR_MAX, "%s:// is not allowed here (add %s to protocols in the configuration)",
                 name, name);
    else if (!remote_reader_of(kind))
        snprintf(problem, LOCATION_ERROR_MAX, "this nbd-proxy is built without %s", name);
    else if (!may_say_who_reads(config, kind, url, options))
        snprintf(problem, LOCATION_ERROR_MAX,
                 "only an administrator may say by uid= and gid= who reads (or set nfs-ids = yes in the configuration)");
    else if (options->writable > 0 && pipeline_overlay(config, true) == OVERLAY_NONE)
        snprintf(
            problem, LOCATION_ERROR_MAX,
            "an image on another machine can't be written to (leave out writable=yes, or give the slot an overlay)");
    return !*problem;
}

struct source *pipeline_remote_new(const struct pipeline_context *context, const struct config_slot *config,
                                   const char *text, const struct slot_insert_options *options,
                                   struct pipeline_refusal *refusal)
{
    char problem[LOCATION_ERROR_MAX], shown[SLOT_ERROR_MAX - LOCATION_ERROR_MAX - 2]; /* both fit */
    enum location_kind kind = location_kind(text);
    struct source *source = NULL;
    char *url = location_url(text, problem);
    if (url && may_be_read(config, kind, url, options, problem))
        source = remote_reader_of(kind)(context, config, url, options, problem);
    if (source)
        remote_source_share(source, context->links);
    if (!source) {
        bool spoken = kind != LOCATION_UNKNOWN && pipeline_speaks(config, kind);
        bool allowed = !url || may_say_who_reads(config, kind, url, options);
        text_url_public(text, shown, sizeof shown);
        refusal->status = !spoken ? -EPROTONOSUPPORT : allowed ? -EINVAL : -EPERM;
        snprintf(refusal->error, SLOT_ERROR_MAX, "%s: %s", shown, problem);
    }
    mem_free(url);
    return source;
}
