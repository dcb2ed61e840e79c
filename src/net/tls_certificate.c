/* A certificate that a host signs for itself: see net/tls.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netinet/in.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "net/tls_internal.h"

#define NAMES_MAX       64      /* alternative names in one certificate */
#define NAME_SIZE       256     /* of a host name or an address */
#define COMMON_NAME_MAX 64      /* RFC 5280, ub-common-name */
#define SERIAL_BITS     159     /* RFC 5280 4.1.2.2: positive, at most 20 bytes */
#define CLOCK_DAY       ((time_t)86400)
#define CLOCK_SLACK     CLOCK_DAY /* the browser's clock may be behind */
#define CLOCK_FLOOR     1767225600 /* 2026: this program was not there before, so a clock that says less is not set */
#define KEY_BITS_LEAST  112 /* of security, as the context wants it */
#define UNSET_CLOCK_END "20491231235959Z"

struct names {
    char text[NAMES_MAX][NAME_SIZE];
    unsigned count;
};

static void tls_certificate_add_name(struct names *names, const char *text)
{
    for (unsigned i = 0; i < names->count; i++)
        if (strcmp(names->text[i], text) == 0)
            return;
    if (names->count < NAMES_MAX && text[0] && strlen(text) < NAME_SIZE)
        strcpy(names->text[names->count++], text);
}

/* IPv6 addresses that come and go (RFC 8981): a certificate for each would be a new one every day. */
static bool is_temporary(const struct in6_addr *address)
{
    char line[128], hex[2 * sizeof *address + 1];
    unsigned flags = 0;
    bool found = false;
    FILE *file = fopen("/proc/net/if_inet6", "re");
    text_hex(address, sizeof *address, hex);
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, hex, sizeof hex - 1) == 0 && sscanf(line, "%*s %*s %*s %*s %x", &flags) == 1;
    if (file)
        fclose(file);
    return found && (flags & IFA_F_TEMPORARY);
}

static void add_address(struct names *names, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text, sizeof text);
    } else if (address->sa_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (!IN6_IS_ADDR_LINKLOCAL(in6) && !is_temporary(in6)) /* a certificate has no scope */
            inet_ntop(AF_INET6, in6, text, sizeof text);
    }
    if (text[0])
        tls_certificate_add_name(names, text);
}

static void add_host(struct names *names)
{
    char host[NAME_SIZE] = "";
    struct ifaddrs *addresses = NULL;
    gethostname(host, sizeof host - 1);
    tls_certificate_add_name(names, host);
    host[strcspn(host, ".")] = 0;
    tls_certificate_add_name(names, host);
    tls_certificate_add_name(names, "localhost");
    if (getifaddrs(&addresses) != 0)
        return;
    for (const struct ifaddrs *a = addresses; a; a = a->ifa_next)
        if (a->ifa_addr && (a->ifa_flags & IFF_UP))
            add_address(names, a->ifa_addr);
    freeifaddrs(addresses);
}

static bool is_address(const char *name)
{
    unsigned char binary[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1;
}

/* What a host name may consist of: anything else would be syntax to OpenSSL. */
static bool is_host_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*";
    return name[0] && name[strspn(name, allowed)] == 0;
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* --- is it still right? --- */

static bool tls_certificate_has_name(X509 *certificate, const char *name)
{
    if (is_address(name))
        return X509_check_ip_asc(certificate, name, 0) == 1;
    return !is_host_name(name) || X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
}

static const char *missing_name(X509 *certificate, const struct names *names)
{
    for (unsigned i = 0; i < names->count; i++)
        if (!tls_certificate_has_name(certificate, names->text[i]))
            return names->text[i];
    return NULL;
}

static time_t tls_certificate_time_of(const ASN1_TIME *text)
{
    struct tm tm;
    return ASN1_TIME_to_tm(text, &tm) == 1 ? timegm(&tm) : 0;
}

/* As long as the clock is not set nothing is known of dates. One more day is allowed, since OpenSSL looks at the clock
 * once for the begin and once for the end. */
static const char *wrong_dates(const X509 *certificate)
{
    time_t now = time(NULL), begin = tls_certificate_time_of(X509_get0_notBefore(certificate)),
           end = tls_certificate_time_of(X509_get0_notAfter(certificate));
    if (now < CLOCK_FLOOR)
        return NULL;
    return end < now                                  ? "it has expired"
           : end - now < TLS_RENEW_DAYS * CLOCK_DAY   ? "it expires soon"
           : begin > now                              ? "it begins in the future"
           : end - begin > (TLS_SELF_SIGNED_DAYS + 1) * CLOCK_DAY ? "it was made before the clock was set"
                                                      : NULL;
}

void tls_self_signed_due(const struct tls_context *context, char why[TLS_DUE_MAX])
{
    X509 *certificate = tls_context_certificate(context);
    const char *dates = wrong_dates(certificate);
    struct names *names = mem_alloc(sizeof *names);
    add_host(names);
    const char *missing = dates ? NULL : missing_name(certificate, names);
    snprintf(why, TLS_DUE_MAX, "%s%s", dates ? dates : missing ? "it is not for " : "", missing ? missing : "");
    mem_free(names);
}

static void name_text(const GENERAL_NAME *name, char text[NAME_SIZE])
{
    const ASN1_STRING *value = name->type == GEN_DNS || name->type == GEN_IPADD ? name->d.ia5 : NULL;
    int length = value ? ASN1_STRING_length(value) : 0;
    const unsigned char *bytes = value ? ASN1_STRING_get0_data(value) : NULL;
    *text = '\0';
    if (name->type == GEN_DNS)
        snprintf(text, NAME_SIZE, "%.*s", length, (const char *)bytes);
    else if (length == 4 || length == 16)
        inet_ntop(length == 4 ? AF_INET : AF_INET6, bytes, text, NAME_SIZE);
}

bool tls_context_names(const struct tls_context *context, const char *host, char names[TLS_NAMES_MAX])
{
    X509 *certificate = tls_context_certificate(context);
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t used = 0;
    *names = '\0';
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all) && used < TLS_NAMES_MAX; i++) {
        char text[NAME_SIZE];
        name_text(sk_GENERAL_NAME_value(all, i), text);
        if (*text)
            used += (size_t)snprintf(names + used, TLS_NAMES_MAX - used, "%s%s", used ? ", " : "", text);
    }
    GENERAL_NAMES_free(all);
    return *host && X509_check_host(certificate, host, 0, 0, NULL) == 1;
}

static bool add_alternative_names(X509 *certificate, const struct names *names)
{
    char list[NAMES_MAX * (NAME_SIZE + 8)] = "";
    size_t used = 0;
    for (unsigned i = 0; i < names->count; i++) {
        const char *name = names->text[i], *kind = is_address(name) ? "IP" : "DNS";
        if (is_address(name) || is_host_name(name))
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s:%s", used ? "," : "", kind, name);
    }
    return used > 0 && add_extension(certificate, NID_subject_alt_name, list);
}

static bool set_serial(X509 *certificate)
{
    BIGNUM *serial = BN_new();
    bool set = serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
               BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate));
    BN_free(serial);
    return set;
}

static bool set_name(X509 *certificate, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    const char *common = strlen(name) <= COMMON_NAME_MAX ? name : "nbd-proxy";
    return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, subject) == 1;
}

/* A certificate that is made before the clock is set must be good once it is, whenever that will be. */
static bool set_dates(X509 *certificate)
{
    ASN1_TIME *end = X509_getm_notAfter(certificate);
    time_t now = time(NULL);
    if (!X509_gmtime_adj(X509_getm_notBefore(certificate), now < CLOCK_SLACK ? -now : -CLOCK_SLACK))
        return false;
    return now < CLOCK_FLOOR ? ASN1_TIME_set_string_X509(end, UNSET_CLOCK_END) == 1
                             : X509_time_adj_ex(end, TLS_SELF_SIGNED_DAYS - 1, 0, NULL) != NULL;
}

static X509 *sign(EVP_PKEY *key, const struct names *names)
{
    X509 *certificate = X509_new();
    bool made = certificate && X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
                set_dates(certificate) &&
                X509_set_pubkey(certificate, key) == 1 && set_name(certificate, names->text[0]) &&
                add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
                add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
                add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
                add_extension(certificate, NID_subject_key_identifier, "hash") &&
                add_alternative_names(certificate, names) && X509_sign(certificate, key, EVP_sha256()) > 0;
    if (made)
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* Writes beside the file and renames: nobody ever reads half of it. */
static bool certificate_replace_file(const char *path, mode_t mode, BIO *text, char *error, size_t error_size)
{
    char *data, beside[4096];
    long length = BIO_get_mem_data(text, &data);
    if ((size_t)snprintf(beside, sizeof beside, "%s.XXXXXX", path) >= sizeof beside) {
        snprintf(error, error_size, "%s: the path is too long", path);
        return false;
    }
    int fd = mkostemp(beside, O_CLOEXEC);
    bool written = fd >= 0 && fchmod(fd, mode) == 0 && write(fd, data, (size_t)length) == length && fsync(fd) == 0;
    if (fd >= 0 && close(fd) != 0)
        written = false;
    if (written && rename(beside, path) == 0)
        return true;
    snprintf(error, error_size, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        unlink(beside);
    return false;
}

static int on_no_pass_phrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}

/* Who has pinned the key finds it again. NULL: there is none, or none that can be used. */
static EVP_PKEY *key_before(const char *path)
{
    FILE *file = fopen(path, "re");
    EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, on_no_pass_phrase, NULL) : NULL;
    if (file)
        fclose(file);
    int kind = key ? EVP_PKEY_get_base_id(key) : 0;
    if ((kind == EVP_PKEY_EC || kind == EVP_PKEY_RSA) && EVP_PKEY_get_security_bits(key) >= KEY_BITS_LEAST)
        return key;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return NULL;
}

static bool write_files(EVP_PKEY *key, X509 *certificate, const char *certificate_path, const char *key_path,
                        char *error, size_t error_size)
{
    BIO *key_text = BIO_new(BIO_s_secmem()), *certificate_text = BIO_new(BIO_s_mem());
    bool done = false;
    if (!key_text || !certificate_text || PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(certificate_text, certificate) != 1)
        snprintf(error, error_size, "the certificate can't be written: %s", tls_words());
    else
        done = certificate_replace_file(key_path, 0600, key_text, error, error_size) &&
               certificate_replace_file(certificate_path, 0644, certificate_text, error, error_size);
    BIO_free(key_text);
    BIO_free(certificate_text);
    return done;
}

bool tls_make_self_signed(const char *const *names, const char *certificate_path, const char *key_path, char *error,
                          size_t error_size)
{
    struct names *all = mem_alloc(sizeof *all);
    if (names)
        for (; *names; names++)
            tls_certificate_add_name(all, *names);
    else
        add_host(all);
    ERR_clear_error();
    EVP_PKEY *key = all->count > 0 ? key_before(key_path) : NULL;
    if (!key && all->count > 0)
        key = EVP_EC_gen("P-256");
    X509 *certificate = key ? sign(key, all) : NULL;
    bool done = false;
    if (!certificate)
        snprintf(error, error_size, "a certificate can't be made: %s",
                 all->count > 0 ? tls_words() : "there is no name for it");
    else
        done = write_files(key, certificate, certificate_path, key_path, error, error_size);
    X509_free(certificate);
    EVP_PKEY_free(key);
    mem_free(all);
    return done;
}
