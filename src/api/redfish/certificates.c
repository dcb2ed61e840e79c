/* VirtualMedia: the certificates that a slot trusts for its images' servers, and the one that it shows to them
 * (ClientCertificates). See api/redfish/internal.h. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/redfish/internal.h"
#include "base/log.h"
#include "base/text.h"

#define TEXT_MAX 512 /* of a name's part */

/* The name of the slot that the path is about; false: there is none. */
static bool redfish_certificates_slot_name(const struct redfish_call *call, char name[CONFIG_SLOT_NAME_MAX])
{
    struct slot *slot = redfish_media_slot(call);
    struct slot_status s;
    if (!slot)
        return false;
    slot_get_status(slot, &s);
    snprintf(name, CONFIG_SLOT_NAME_MAX, "%s", s.name);
    return true;
}

/* Which of a slot's two collections the call is about. */
static bool is_own(const struct redfish_call *call)
{
    return strstr(call->route->path, "/ClientCertificates");
}

static struct certificate_store *store_of(const struct redfish_call *call)
{
    return is_own(call) ? call->site->own_certificates : call->site->certificates;
}

static void folder_of(const struct redfish_call *call, char path[REDFISH_PATH_MAX])
{
    snprintf(path, REDFISH_PATH_MAX, "%s/%s/%s", is_own(call) ? REDFISH_OWN_MEDIA : REDFISH_MEDIA, call->id,
             is_own(call) ? "ClientCertificates" : "Certificates");
}

/* --- reading --- */

static void add_part(json_t *identifier, const char *property, const X509_NAME *name, int nid)
{
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    unsigned char *text = NULL;
    int length = at < 0 ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (length >= 0 && length < TEXT_MAX) {
        bool whole = !memchr(text, 0, (size_t)length); /* clients that end a text there would read another name */
        json_t *value = whole ? json_stringn((const char *)text, (size_t)length) : NULL;
        json_object_set_new(identifier, property, value ? value : json_string(""));
    }
    OPENSSL_free(text);
}

static json_t *identifier(const X509_NAME *name)
{
    static const struct {
        const char *property;
        int nid;
    } parts[] = {{"CommonName", NID_commonName},   {"Organization", NID_organizationName},
                 {"City", NID_localityName},       {"OrganizationalUnit", NID_organizationalUnitName},
                 {"Country", NID_countryName},     {"State", NID_stateOrProvinceName},
                 {"Email", NID_pkcs9_emailAddress}};
    json_t *json = json_object();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add_part(json, parts[i].property, name, parts[i].nid);
    return json;
}

static json_t *moment(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? redfish_time(timegm(&tm)) : json_null();
}

/* Bytes as "01:AB:...". */
static json_t *colons(const unsigned char *bytes, size_t length)
{
    char text[3 * EVP_MAX_MD_SIZE + 1] = "";
    for (size_t i = 0; i < length && i < EVP_MAX_MD_SIZE; i++)
        snprintf(text + 3 * i - (i > 0), 4, "%s%02X", i > 0 ? ":" : "", bytes[i]);
    return json_string(text);
}

void redfish_certificate_facts(json_t *json, X509 *x509)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
    json_object_set_new(json, "Subject", identifier(X509_get_subject_name(x509)));
    json_object_set_new(json, "Issuer", identifier(X509_get_issuer_name(x509)));
    json_object_set_new(json, "ValidNotBefore", moment(X509_get0_notBefore(x509)));
    json_object_set_new(json, "ValidNotAfter", moment(X509_get0_notAfter(x509)));
    json_object_set_new(json, "SerialNumber",
                        colons(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial)));
    if (X509_digest(x509, EVP_sha256(), digest, &length) == 1) {
        json_object_set_new(json, "Fingerprint", colons(digest, length));
        json_object_set_new(json, "FingerprintHashAlgorithm", json_string("TPM_ALG_SHA256"));
    }
}

static void member_path(const struct redfish_call *call, unsigned id, char path[REDFISH_PATH_MAX])
{
    char folder[REDFISH_PATH_MAX];
    folder_of(call, folder);
    snprintf(path, REDFISH_PATH_MAX, "%.200s/%u", folder, id);
}

static json_t *redfish_certificates_show(const struct redfish_call *call, const struct certificate *certificate)
{
    char path[REDFISH_PATH_MAX], id[16], error[CERTIFICATE_ERROR];
    X509 *x509 = certificate_parse(certificate->pem, error);
    member_path(call, certificate->id, path);
    snprintf(id, sizeof id, "%u", certificate->id);
    json_t *json =
        redfish_resource(TYPE_CERTIFICATE, path, id,
                         is_own(call) ? "Certificate for the images' servers"
                                      : "Certificate of an image's server, or of who signed it");
    json_object_set_new(json, "CertificateString", json_string(certificate->pem));
    json_object_set_new(json, "CertificateType", json_string("PEM"));
    if (x509)
        redfish_certificate_facts(json, x509);
    X509_free(x509);
    return json;
}

json_t *redfish_certificates(struct redfish_call *call)
{
    char slot[CONFIG_SLOT_NAME_MAX], folder[REDFISH_PATH_MAX], id[16];
    const struct certificate *certificate = NULL;
    if (!redfish_certificates_slot_name(call, slot))
        return NULL;
    json_t *collection = redfish_collection(call, "Certificate Collection");
    folder_of(call, folder);
    while ((certificate = certificate_store_next(store_of(call), slot, certificate)) != NULL) {
        snprintf(id, sizeof id, "%u", certificate->id);
        redfish_add_member(collection, folder, id);
    }
    return collection;
}

static const struct certificate *certificates_find(const struct redfish_call *call)
{
    char slot[CONFIG_SLOT_NAME_MAX];
    return redfish_certificates_slot_name(call, slot)
               ? certificate_store_find(store_of(call), slot, call->part)
               : NULL;
}

json_t *redfish_certificate(struct redfish_call *call)
{
    const struct certificate *certificate = certificates_find(call);
    return certificate ? redfish_certificates_show(call, certificate) : NULL;
}

/* --- changes --- */

static const struct redfish_property properties[] = {
    {"CertificateString", REDFISH_TEXT}, {"CertificateType", REDFISH_TEXT}, {"Name", REDFISH_IGNORED},
    {"Description", REDFISH_IGNORED},    {NULL, REDFISH_IGNORED},
};

/* NULL: the body may be tried. */
static json_t *body_problem(const json_t *body)
{
    const char *type = redfish_text(body, "CertificateType");
    char shown[64];
    if (!redfish_text(body, "CertificateString"))
        return redfish_message("PropertyMissing", "CertificateString", "CertificateString", NULL);
    if (!type)
        return redfish_message("PropertyMissing", "CertificateType", "CertificateType", NULL);
    redfish_show("CertificateType", json_object_get(body, "CertificateType"), shown);
    return strcmp(type, "PEM") == 0
               ? NULL
               : redfish_message("PropertyValueNotInList", "CertificateType", shown, "CertificateType", NULL);
}

static void redfish_certificates_refuse(struct redfish_call *call, int status, const char *words)
{
    if (status == -EEXIST)
        redfish_fail(call, 409,
                     redfish_message("ResourceAlreadyExists", "CertificateString", "Certificate", "CertificateString",
                                     "PEM", NULL));
    else if (status == -ENOSPC)
        redfish_fail(call, 400, redfish_message("CreateLimitReachedForResource", NULL, NULL));
    else
        redfish_fail(call, 400,
                     redfish_resolve(redfish_message("CertificateNotUsable", "CertificateString", words, NULL),
                                     is_own(call) ? "Send one certificate in PEM, and its key in PEM without a pass phrase."
                                                  : "Send one certificate in PEM, without its key."));
}

static void redfish_certificates_add(struct redfish_call *call, const char *slot, const char *pem)
{
    struct certificate_store *store = store_of(call);
    char path[REDFISH_PATH_MAX], error[CERTIFICATE_ERROR];
    unsigned id;
    int status = certificate_store_add(store, slot, pem, &id, error);
    if (status != 0) {
        redfish_certificates_refuse(call, status, error);
        return;
    }
    member_path(call, id, path);
    snprintf(call->part, sizeof call->part, "%u", id);
    log_notice(slot, "redfish: certificate %u is %s from the next insert on (added by %s)", id,
               is_own(call) ? "shown to images' servers" : "trusted", call->user);
    if (is_own(call) && !call->site->config.state_secrets)
        log_notice(slot, "redfish: its key is a secret: it is forgotten at a restart (see state-secrets)");
    redfish_reply_created(call, path, redfish_certificates_show(call, certificate_store_find(store, slot, call->part)));
}

void redfish_certificates_post(struct redfish_call *call, json_t *body)
{
    char slot[CONFIG_SLOT_NAME_MAX];
    json_t *problem;
    if (!redfish_certificates_slot_name(call, slot))
        redfish_not_found(call);
    else if (!redfish_check(call, body, properties))
        return;
    else if ((problem = body_problem(body)) != NULL)
        redfish_fail(call, 400, problem);
    else
        redfish_certificates_add(call, slot, redfish_text(body, "CertificateString"));
    api_wipe(json_object_get(body, "CertificateString")); /* it may have had a key */
}

void redfish_certificate_delete(struct redfish_call *call)
{
    const struct certificate *certificate = certificates_find(call); /* it is there: the conditions were checked on it */
    if (!certificate) {
        redfish_not_found(call);
        return;
    }
    log_notice(certificate->slot, "redfish: certificate %u is not %s any more (removed by %s)", certificate->id,
               is_own(call) ? "shown" : "trusted", call->user);
    certificate_store_remove(store_of(call), certificate);
    redfish_reply_nothing(call);
}
