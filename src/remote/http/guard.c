#include "remote/http/guard.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* --- addresses --- */

/* True: it may be spoken to. False, without a refusal: that can't be told now. */
static bool guard_admits(struct http_guard *guard, const struct sockaddr *address)
{
    static const struct address_list none;
    const struct address_list *own = guard->local == ADDRESS_LOCAL_ALL ? &none : curl_loop_own_addresses(guard->curl);
    *guard->refusal = '\0';
    if (!own)
        return false;
    return address_admitted(address, own, guard->local, guard->refusal);
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_guard *guard = arg;
    (void)purpose;
    if (!guard_admits(guard, &address->addr) || !guard->opening(guard))
        return CURL_SOCKET_BAD;
    guard->opened = true;
    guard->given = guard->fd;
    guard->fd = -1;
    return guard->given >= 0 ? guard->given : socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    struct http_guard *guard = arg;
    bool connected = fd == guard->given;
    (void)purpose;
    guard->given = -1;
    return connected ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

static int on_fetch_guard_request(void *arg, char *primary_ip, char *local_ip, int primary_port, int local_port)
{
    struct sockaddr_storage address;
    (void)local_ip;
    (void)primary_port;
    (void)local_port;
    struct http_guard *guard = arg;
    bool good = address_parse(primary_ip, &address) && guard_admits(guard, (const struct sockaddr *)&address);
    guard->asking(guard);
    return good ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

void http_guard_addresses(struct http_guard *guard, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, guard);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, guard);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_fetch_guard_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, guard);
}

const char *http_guard_refusal(const struct http_guard *guard, CURLcode code)
{
    bool ended = code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK;
    return ended && *guard->refusal ? guard->refusal : NULL;
}

/* --- certificates --- */

static bool has_name(const X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool has = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type = sk_GENERAL_NAME_value(names, i)->type;
        has |= type == GEN_DNS || type == GEN_IPADD;
    }
    GENERAL_NAMES_free(names);
    return has;
}

static int on_fetch_guard_verified(int good, X509_STORE_CTX *store)
{
    if (!good || X509_STORE_CTX_get_error_depth(store) > 0 || has_name(X509_STORE_CTX_get_current_cert(store)))
        return good;
    X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}

static CURLcode on_tls_context(CURL *easy, void *context, void *arg)
{
    (void)easy;
    (void)arg;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_fetch_guard_verified);
    return CURLE_OK;
}

void http_guard_names(CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
}

bool http_guard_nameless(CURL *easy)
{
    long result = X509_V_OK;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &result);
    return result == X509_V_ERR_HOSTNAME_MISMATCH;
}
