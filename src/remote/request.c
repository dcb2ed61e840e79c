/* What the clients of all protocols do with their requests. See remote/remote.h. */
#include <stdarg.h>
#include <stdio.h>

#include "remote/remote.h"

void remote_request_begin(struct remote_request *request, uint32_t length)
{
    slices_clear(&request->data);
    slices_alloc(&request->data, length, BYTES_PIECE);
    request->received = request->first_byte_us = 0;
    remote_judge(request, REMOTE_TRANSIENT, "%s", "");
}

void remote_judge(struct remote_request *request, enum remote_verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    request->verdict = verdict;
    request->reason = 0;
    request->busy = false;
    request->retry_after_ms = 0;
    vsnprintf(request->error, sizeof request->error, format, args);
    va_end(args);
}

void remote_request_end(struct remote_request *request)
{
    if (request->verdict != REMOTE_OK)
        slices_clear(&request->data);
    request->done(request);
}
