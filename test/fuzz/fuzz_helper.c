/* What is taken for a request of the helper's can be done: its texts end, its numbers are in their bounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helper/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static bool is_name(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0 && !strpbrk(text, "/.\n") && text[strlen(prefix)];
}

static void try_nbd(const struct helper_request *request, unsigned fds)
{
    struct kernel_nbd nbd;
    struct helper_nbd again;
    helper_nbd_unpack(&request->nbd, &nbd);
    must(is_name(nbd.backend, "nbd-proxy:") && nbd.index < 256 && fds <= KERNEL_CONNECTIONS_MAX);
    helper_nbd_pack(&again, &nbd);
    must(request->op == HELPER_NBD_DISCONNECT || memcmp(&again, &request->nbd, sizeof again) == 0);
}

static void try_gadget(const struct helper_request *request)
{
    struct kernel_gadget gadget;
    struct kernel_medium medium;
    struct helper_gadget again;
    char path[256];
    helper_gadget_unpack(&request->gadget, &gadget, &medium);
    must(is_name(gadget.name, "") && is_name(gadget.function, "") && !strchr(gadget.udc, '/') &&
         strncmp(medium.device, "/dev/nbd", 8) == 0);
    must((size_t)snprintf(path, sizeof path, "%s%s%s%s", gadget.manufacturer, gadget.product, gadget.serial,
                          gadget.inquiry) < 64 * 3 + 29);
    must(!strchr(path, '\n'));
    helper_gadget_pack(&again, &gadget, &medium);
    again.patience_ms = request->gadget.patience_ms;
    must(memcmp(&again, &request->gadget, sizeof again) == 0);
}

static void try_hook(const struct helper_request *request)
{
    struct host_request asked;
    char words[128];
    helper_hook_unpack(&request->hook, &asked);
    host_request_text(&asked, words, sizeof words);
    must(strlen(words) < sizeof words - 1);
}

/* The first byte is how many descriptors came. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct helper_request request = {0};
    unsigned fds = size > 0 ? data[0] : 0;
    size_t length = size > 0 ? size - 1 : 0;
    memcpy(&request, data + (size > 0), length < sizeof request ? length : sizeof request);
    must(length >= sizeof request || !helper_request_check(&request, length, fds));
    if (!helper_request_check(&request, sizeof request, fds)) /* of short inputs the rest is 0 */
        return 0;
    if (request.op <= HELPER_NBD_DISCONNECT)
        try_nbd(&request, fds);
    else if (request.op <= HELPER_GADGET_REMOVE)
        try_gadget(&request);
    else if (request.op == HELPER_HOOK)
        try_hook(&request);
    else if (request.op == HELPER_PASSWORD)
        must(strlen(request.password.password) <= PASSWORD_MAX && strlen(request.password.name) <= USER_NAME_MAX);
    return 0;
}
