/* The login, the share and the file of remote/smb/connection.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "remote/smb/internal.h"
#include "remote/smb/status.h"

#define INFORMATION_MAX 256 /* bytes of an answer about the file */

void smb_refused(struct smb *smb, uint32_t status)
{
    const struct smb_status *known = smb_status_find(status);
    bool by_version = status == SMB2_STATUS_NOT_SUPPORTED || status == SMB2_STATUS_ACCESS_DENIED;
    smb->newest_may_do = by_version && !smb->newest && smb->stage < SMB_FILE;
    const char *who = smb->guest ? " (for a guest: give user and password)" : "";
    if (known)
        smb_fail(smb, known->transient, known->reason, "%s%s", known->words, known->reason == -EACCES ? who : "");
    else
        smb_fail(smb, true, 0, "the server says %s (%#x)", nterror_to_str(status), (unsigned)status);
}

void smb_query(struct smb *smb, uint8_t class, smb2_command_cb on_answer)
{
    struct smb2_query_info_request request = {
        .info_type = SMB2_0_INFO_FILE,
        .file_info_class = class,
        .output_buffer_length = INFORMATION_MAX,
    };
    memcpy(request.file_id, smb->id, sizeof request.file_id);
    smb_queue(smb, smb2_cmd_query_info_async(smb->library, &request, on_answer, smb));
}

static void one_more_known(struct smb *smb)
{
    if (smb->stage != SMB_FILE || --smb->unknown > 0)
        return;
    uint32_t most = smb2_get_max_read_size(smb->library);
    uint32_t piece = smb->guest ? SMB_PIECE : SMB_PIECE_KEYED;
    smb->piece = most < piece ? most & ~4095u : piece;
    smb->stage = SMB_OPEN;
    smb->opened_due = true;
    uv_timer_stop(&smb->timer);
    smb_tell(smb);
}

static uint64_t time_of(const struct smb2_timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

bool smb_facts(struct smb *smb, int status, struct smb2_query_info_reply *reply, struct smb_file *file)
{
    if (status != 0 || !reply || !reply->output_buffer)
        return false;
    const struct smb2_file_network_open_info *info = reply->output_buffer;
    file->size = info->end_of_file;
    file->written = time_of(&info->last_write_time);
    file->changed = time_of(&info->change_time);
    smb2_free_data(smb->library, reply->output_buffer);
    return true;
}

static void on_smb_login_index(struct smb2_context *library, int status, void *data, void *arg)
{
    struct smb *smb = arg;
    struct smb2_query_info_reply *reply = data;
    uint8_t number[8] = {0};
    if (!smb_answered(smb, status))
        return;
    if (status == 0 && reply && reply->output_buffer) {
        if (reply->output_buffer_length == sizeof number)
            memcpy(number, reply->output_buffer, sizeof number);
        smb2_free_data(library, reply->output_buffer);
    }
    for (unsigned i = 0; i < sizeof number; i++)
        smb->file.index |= (uint64_t)number[i] << 8 * i;
    one_more_known(smb);
}

static void on_facts(struct smb2_context *library, int status, void *data, void *arg)
{
    struct smb *smb = arg;
    (void)library;
    if (!smb_answered(smb, status))
        return;
    smb->round_trip_us = smb_now_us() - smb->asked_us;
    if (!smb_facts(smb, status, data, &smb->file))
        smb_refused(smb, (uint32_t)status);
    else if (smb->file.size > INT64_MAX)
        smb_fail(smb, false, -EREMOTEIO, "the server says that the image has an impossible size");
    else
        one_more_known(smb);
}

static void on_created(struct smb2_context *library, int status, void *data, void *arg)
{
    struct smb *smb = arg;
    const struct smb2_create_reply *reply = data;
    if (!smb_answered(smb, status))
        return;
    if (status != 0 || !reply) {
        smb_refused(smb, (uint32_t)status);
    } else if (reply->file_attributes & SMB2_FILE_ATTRIBUTE_DIRECTORY) {
        smb_refused(smb, SMB2_STATUS_FILE_IS_A_DIRECTORY);
    } else {
        memcpy(smb->id, reply->file_id, sizeof smb->id);
        smb->handle = smb2_fh_from_file_id(library, &smb->id);
        if (!smb->handle)
            mem_exhausted();
        smb->unknown = 2;
        smb->asked_us = smb_now_us();
        smb_query(smb, SMB2_FILE_NETWORK_OPEN_INFORMATION, on_facts);
        smb_query(smb, SMB2_FILE_INTERNAL_INFORMATION, on_smb_login_index);
    }
}

static void on_share(struct smb2_context *library, int status, void *data, void *arg)
{
    struct smb *smb = arg;
    (void)data;
    if (!smb_answered(smb, status))
        return;
    if (status != 0) {
        smb_refused(smb, (uint32_t)status);
        return;
    }
    if (smb->guard.sealed)
        smb2_set_sign(library, 0); /* sealing is enough; libsmb2 takes sealed and signed for broken */
    smb->stage = SMB_FILE;
    struct smb2_create_request request = {
        .impersonation_level = SMB2_IMPERSONATION_IMPERSONATION,
        .desired_access = SMB2_FILE_READ_DATA | SMB2_FILE_READ_ATTRIBUTES,
        .share_access = SMB2_FILE_SHARE_READ,
        .create_disposition = SMB2_FILE_OPEN,
        .create_options = SMB2_FILE_NON_DIRECTORY_FILE,
        .name = smb->path,
    };
    smb_queue(smb, smb2_cmd_create_async(library, &request, on_created, smb));
}

/* UTF-16, little endian; the text is UTF-8. Returns its bytes. */
static uint16_t to_utf16(const char *text, uint16_t *out)
{
    uint8_t *bytes = (uint8_t *)out, *at = bytes;
    uint32_t code;
    for (size_t n = text_character(text, &code); n > 0 && code; n = text_character(text, &code)) {
        uint32_t units[2] = {code, 0};
        if (code >= 0x10000) {
            units[0] = 0xd800 | (code - 0x10000) >> 10;
            units[1] = 0xdc00 | ((code - 0x10000) & 0x3ff);
        }
        for (unsigned i = 0; i < (code >= 0x10000 ? 2 : 1); i++) {
            *at++ = (uint8_t)units[i];
            *at++ = (uint8_t)(units[i] >> 8);
        }
        text += n;
    }
    return (uint16_t)(at - bytes);
}

void smb_on_login(struct smb2_context *library, int status, void *data, void *arg)
{
    struct smb *smb = arg;
    (void)data;
    if (smb->ending)
        return;
    if (status != 0) {
        uint32_t nt = smb_last_status(library);
        if (nt)
            smb_refused(smb, nt);
        else
            smb_fail(smb, false, status == -EACCES ? -EACCES : -EREMOTEIO, "the login failed: %s",
                     smb2_get_error(library));
        return;
    }
    smb->stage = SMB_SHARE;
    size_t size = strlen(smb->server) + strlen(smb->share) + 4;
    char *name = mem_alloc(size);
    uint16_t *path = mem_alloc(size * 2);
    snprintf(name, size, "\\\\%s\\%s", smb->server, smb->share);
    struct smb2_tree_connect_request request = {.path_length = to_utf16(name, path), .path = path};
    struct smb2_pdu *pdu = smb2_cmd_tree_connect_async(library, &request, on_share, smb);
    /* With SMB 3.1.1 libsmb2 signs this request even for a guest, who has no key; but not while it is set
     * to seal. Whether this request is sealed was settled when it was made. */
    if (smb->guest)
        smb2_set_seal(library, 1);
    smb_queue(smb, pdu);
    if (smb->guest)
        smb2_set_seal(library, 0);
    mem_free(path);
    mem_free(name);
}
