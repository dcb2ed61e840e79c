#include "net/tls_trust.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

static char *with_file(const char *path, const char *pem)
{
    FILE *file = path ? fopen(path, "re") : NULL;
    size_t more = strlen(pem), used = 0;
    char *text = mem_alloc((file ? TRUST_FILE_MAX : 0) + more + 2);
    if (file) {
        used = fread(text, 1, TRUST_FILE_MAX, file);
        fclose(file);
    }
    text[used++] = '\n'; /* the file's last line may have no end */
    memcpy(text + used, pem, more + 1);
    return mem_realloc(text, used + more + 1);
}

/* Where libcurl finds the system's authorities by their hash in a folder, the text need not have
 * them: each connection would parse them all. */
static const char *system_file(void)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    return info->capath && access(info->capath, X_OK) == 0 ? NULL : info->cainfo;
}

void trust_init(struct trust *trust, const char *file, const char *pem)
{
    trust->file = mem_strdup_nonempty(file);
    trust->text = pem && *pem ? with_file(trust->file ? trust->file : system_file(), pem) : NULL;
}

void trust_clear(struct trust *trust)
{
    mem_free(trust->file);
    mem_free(trust->text);
}

bool trust_dates(long result, char words[TRUST_WORDS_MAX])
{
    char now[32] = "";
    time_t clock = time(NULL);
    struct tm utc;
    if (result != X509_V_ERR_CERT_NOT_YET_VALID && result != X509_V_ERR_CERT_HAS_EXPIRED)
        return false;
    if (gmtime_r(&clock, &utc))
        strftime(now, sizeof now, "%Y-%m-%d %H:%M:%S", &utc);
    snprintf(words, TRUST_WORDS_MAX, "the server's certificate %s by this machine's clock, which says %s UTC (%s)",
             result == X509_V_ERR_CERT_NOT_YET_VALID ? "is not yet valid" : "has expired", now,
             result == X509_V_ERR_CERT_NOT_YET_VALID ? "set the clock, or mend the certificate"
                                                     : "mend the certificate, or set the clock if it is wrong");
    return true;
}

bool trust_is_plain(const char *words)
{
    static const char *const plain[] = {"wrong version number", "packet length too long", "http request", "unknown protocol"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strstr(words, plain[i]))
            return true;
    return false;
}
