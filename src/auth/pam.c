#include "auth/pam.h"

#include <build-config.h>

#ifdef HAVE_PAM

#include <pthread.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* The module frees the answers with free(3). */
static bool reply(const struct pam_message *message, const char *password, struct pam_response *response)
{
    switch (message->msg_style) {
    case PAM_PROMPT_ECHO_OFF:
        response->resp = mem_strdup(password);
        return true;
    case PAM_TEXT_INFO:
    case PAM_ERROR_MSG:
        return true;
    default: /* a second factor, or the like: there is nobody to ask */
        return false;
    }
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *arg)
{
    if (count <= 0 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    struct pam_response *answers = mem_alloc((size_t)count * sizeof *answers);
    for (int i = 0; i < count; i++) {
        if (reply(messages[i], arg, &answers[i]))
            continue;
        while (i-- > 0)
            mem_free_secret(answers[i].resp);
        mem_free(answers);
        return PAM_CONV_ERR;
    }
    *responses = answers;
    return PAM_SUCCESS;
}

/* Delays are the daemon's; a thread is not kept waiting. */
static void no_delay(int status, unsigned microseconds, void *arg)
{
    (void)status;
    (void)microseconds;
    (void)arg;
}

static int run(pam_handle_t *handle, const char *peer)
{
    void (*delay)(int, unsigned, void *) = no_delay;
    const void *item;
    memcpy(&item, &delay, sizeof item);
    pam_set_item(handle, PAM_FAIL_DELAY, item);
    pam_set_item(handle, PAM_RHOST, peer);
    int status = pam_authenticate(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    return status == PAM_SUCCESS ? pam_acct_mgmt(handle, PAM_SILENT) : status;
}

bool pam_check(const char *folder, const char *name, const char *password, const char *peer)
{
    char *copy = mem_strdup(password);
    const struct pam_conv conversation = {.conv = converse, .appdata_ptr = copy};
    pam_handle_t *handle = NULL;
    pthread_mutex_lock(&one_at_a_time);
    int status = pam_start_confdir(PAM_SERVICE_NAME, name, &conversation, folder, &handle);
    if (status == PAM_SUCCESS)
        status = run(handle, peer);
    else
        log_error("pam", "service " PAM_SERVICE_NAME ": it can't be started");
    if (handle)
        pam_end(handle, status);
    pthread_mutex_unlock(&one_at_a_time);
    mem_free_secret(copy);
    return status == PAM_SUCCESS;
}

#else

bool pam_check(const char *folder, const char *name, const char *password, const char *peer)
{
    (void)folder;
    (void)name;
    (void)password;
    (void)peer;
    return false;
}

#endif
