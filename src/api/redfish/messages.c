/* Redfish messages, of DMTF's registries Base and ResourceEvent and of our own, which registries.c
 * publishes from the same table. See api/redfish/answer.h. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/redfish/answer.h"
#include "base/text.h"

/* A registry, and the text that says when a message is used: NULL for DMTF's, whose registries say it. */
#define BASE             "Base.1.18.", NULL
#define RESOURCE         "ResourceEvent.1.3.", NULL
#define TASK             "TaskEvent.1.0.", NULL
#define OWN(description) REDFISH_OWN_MESSAGES, description
#define ARGUMENTS_MAX    3
#define MESSAGE_MAX      2048
#define RESUBMIT         "Correct the request body and send the request again."

static const struct redfish_entry entries[] = {
    {BASE, "ActionNotSupported", "Critical", "The action %1 is not supported by the resource.",
     "Set hook or dbus in section [host] of the configuration of nbd-proxy."},
    {BASE, "ActionParameterMissing", "Critical",
     "The action %1 requires the parameter %2 to be present in the request body.",
     "Send the request again with the parameter."},
    {BASE, "ActionParameterNotSupported", "Warning",
     "The parameter %1 for the action %2 is not supported on the target resource.",
     "Send the request again without the parameter."},
    {BASE, "ActionParameterUnknown", "Warning", "The action %1 was submitted with the invalid parameter %2.",
     "Send the request again without the parameter."},
    {BASE, "ActionParameterValueConflict", "Warning",
     "The parameter '%1' with the requested value of '%2' does not meet the constraints of the implementation.",
     RESUBMIT},
    {BASE, "ActionParameterValueFormatError", "Warning",
     "The value '%1' for the parameter %2 in the action %3 is of a different format than the parameter can accept.",
     RESUBMIT},
    {BASE, "ActionParameterValueNotInList", "Warning",
     "The value '%1' for the parameter %2 in the action %3 is not in the list of acceptable values.",
     "Choose one of the values that the resource lists as allowable, or leave the parameter out."},
    {BASE, "ActionParameterValueTypeError", "Warning",
     "The value '%1' for the parameter %2 in the action %3 is of a different type than the parameter can accept.",
     RESUBMIT},
    {BASE, "CreateLimitReachedForResource", "Critical",
     "The create operation failed because the resource has reached the limit of possible resources.",
     "Delete resources that are no longer needed."},
    {BASE, "EmptyJSON", "Warning",
     "The request body submitted contained an empty JSON object and the service is unable to process it.", RESUBMIT},
    {BASE, "EventBufferExceeded", "Warning", "Undelivered events may have been lost due to exceeding the event buffer.",
     "Read the resources again."},
    {BASE, "EventSubscriptionLimitExceeded", "Critical",
     "The event subscription failed due to the number of simultaneous subscriptions exceeding the limit of the "
     "implementation.",
     "End other streams of events first."},
    {BASE, "HeaderInvalid", "Critical", "Header '%1' is invalid.", "Send the request again with a valid header."},
    {BASE, "InsufficientPrivilege", "Critical",
     "There are insufficient privileges for the account or credentials associated with the current session to perform "
     "the "
     "requested operation.",
     "Log in as somebody whose role allows it."},
    {BASE, "InternalError", "Critical",
     "The request failed due to an internal service error.  The service is still operational.",
     "Look into the log of nbd-proxy."},
    {BASE, "InvalidURI", "Critical", "The URI %1 was not found.", "Provide a valid URI and send the request again."},
    {BASE, "MalformedJSON", "Critical",
     "The request body submitted was malformed JSON and could not be parsed by the receiving service.",
     "Send one JSON object, with no name twice in it."},
    {BASE, "NoOperation", "Warning",
     "The request body submitted contain no data to act upon and no changes to the resource took place.", RESUBMIT},
    {BASE, "NoValidSession", "Critical", "There is no valid session established with the implementation.",
     "Log in, or send a password with the request."},
    {BASE, "OperationNotAllowed", "Critical", "The HTTP method is not allowed on this resource.",
     "Use one of the methods that the field Allow names."},
    {BASE, "PayloadTooLarge", "Critical", "The supplied payload exceeds the maximum size supported by the service.",
     "Send less."},
    {BASE, "PreconditionFailed", "Critical",
     "The ETag supplied did not match the ETag required to change this resource.", "Read the resource again."},
    {BASE, "PropertyMissing", "Warning", "The property %1 is a required property and must be included in the request.",
     RESUBMIT},
    {BASE, "PropertyNotWritable", "Warning", "The property %1 is a read only property and cannot be assigned a value.",
     "Leave the property out."},
    {BASE, "PropertyUnknown", "Warning", "The property %1 is not in the list of valid properties for the resource.",
     "Leave the property out."},
    {BASE, "PropertyValueConflict", "Warning",
     "The property '%1' could not be written because its value would conflict with the value of the '%2' property.",
     RESUBMIT},
    {BASE, "PropertyValueFormatError", "Warning",
     "The value '%1' for the property %2 is of a different format than the property can accept.", RESUBMIT},
    {BASE, "PropertyValueIncorrect", "Warning",
     "The property '%1' with the requested value of '%2' could not be written because the value does not meet the "
     "constraints of the implementation.",
     RESUBMIT},
    {BASE, "PropertyValueNotInList", "Warning",
     "The value '%1' for the property %2 is not in the list of acceptable values.",
     "Choose one of the values that the resource lists as allowable, or leave the property out."},
    {BASE, "PropertyValueTypeError", "Warning",
     "The value '%1' for the property %2 is of a different type than the property can accept.", RESUBMIT},
    {BASE, "QueryNotSupportedOnOperation", "Warning", "Querying is not supported with the requested operation.",
     "Send the request again without the query."},
    {BASE, "QueryNotSupportedOnResource", "Warning", "Querying is not supported on the requested resource.",
     "Send the request again without the query."},
    {BASE, "QueryParameterUnsupported", "Warning", "Query parameter '%1' is not supported.",
     "Send the request again without the query parameter."},
    {BASE, "QueryParameterValueError", "Warning", "The value for the parameter %1 is invalid.",
     "Correct the value of the query parameter."},
    {BASE, "ResourceAlreadyExists", "Critical",
     "The requested resource of type %1 with the property %2 with the value '%3' already exists.",
     "Choose another value."},
    {BASE, "ResourceInUse", "Warning",
     "The change to the requested resource failed because the resource is in use or in transition.",
     "Eject the medium first."},
    {BASE, "ResourceNotFound", "Critical", "The requested resource of type %1 named '%2' was not found.",
     "Provide the identifier of a resource that is there."},
    {BASE, "ServiceTemporarilyUnavailable", "Critical", "The service is temporarily unavailable.  Retry in %1 seconds.",
     "Wait for that time and try again."},
    {BASE, "SessionLimitExceeded", "Critical",
     "The session establishment failed due to the number of simultaneous sessions exceeding the limit of the "
     "implementation.",
     "End other sessions first."},

    {RESOURCE, "ResourceChanged", "OK", "One or more resource properties have changed.", "None."},
    {RESOURCE, "TestMessage", "OK", "Test message.", "None."},

    {TASK, "TaskAborted", "Critical", "The task with Id '%1' has completed with errors.", "None."},
    {TASK, "TaskCancelled", "Warning",
     "Work on the task with Id '%1' has been halted prior to completion due to an explicit request.", "None."},
    {TASK, "TaskCompletedOK", "OK", "The task with Id '%1' has completed.", "None."},
    {TASK, "TaskStarted", "OK", "The task with Id '%1' has started.", "None."},

    {OWN("A certificate that was sent is none, or not one that can be kept."), "CertificateNotUsable", "Warning",
     "The certificate can't be used: %1.", "Send one certificate in PEM, without its key."},
    {OWN("What was subscribed could not be sent."), "EventsNotDelivered", "Warning", "Events can't be delivered: %1.",
     "Look after the destination and the network; a subscription that was suspended goes on after ResumeSubscription."},
    {OWN("The HTTP server refused a request before the service saw it."), "HttpRefused", "Critical",
     "The request was refused: %1.", "Send a request that is right by RFC 9112, and not too long."},
    {OWN("The platform has no way to set the boot source."), "HostBootNotSupported", "Warning", "The host's boot source can't be set here.",
     "Set dbus in section [host] of the configuration of nbd-proxy, or a hook that answers with BootTargets."},
    {OWN("The platform has no such reset or boot source."), "HostCannot", "Warning", "The platform can't do that: %1.",
     "Choose one of the values that the system lists as allowable."},
    {OWN("The platform was asked, and failed."), "HostFailed", "Critical", "The platform failed to do it: %1.",
     "Look into the log of nbd-proxy, mend what section [host] of its configuration names, and send the request "
     "again."},
    {OWN("Nothing says how the host's power and boot source are set."), "HostNotConfigured", "OK",
     "The host's power is not known, and its boot source and power can't be set here.",
     "Set hook or dbus in section [host] of the configuration of nbd-proxy, if they are to be."},
    {OWN("The platform has something else to do, or took too long."), "HostNotNow", "Critical", "The platform can't do it now: %1.",
     "Send the request again later; if it stays so, look into the log of nbd-proxy."},
    {OWN("The platform does not tell what the host does."), "HostStateUnknown", "Warning", "The platform does not tell the host's state: %1.",
     "Look into the log of nbd-proxy, and mend what section [host] of its configuration names."},
    {OWN("The server of the image refuses these credentials, or asks for some."), "ImageAccessDenied", "Warning",
     "The image's server does not let us read it: %1.",
     "Check UserName and Password, and the permissions on the image's server."},
    {OWN("Credentials in a URL would be shown and logged."), "ImageHasCredentials", "Warning",
     "The image's URL carries a user or a password.", "Give them as UserName and Password."},
    {OWN("The image is a file of the manager, and none may be inserted."), "ImageIsLocal", "Warning",
     "Files of the BMC can't be inserted from here.",
     "Use an image on a server, or set file-directory in the configuration of nbd-proxy."},
    {OWN("The policy of the manager is against this image."), "ImageNotAllowed", "Warning",
     "The image may not be inserted: %1.",
     "Use an image from elsewhere, or allow it in the configuration of nbd-proxy."},
    {OWN("The server of the image does not know it."), "ImageNotFound", "Warning", "There is no such image: %1.",
     "Check the path of the URL."},
    {OWN("The image, or its server, is not one that can be read as a medium."), "ImageNotUsable", "Warning",
     "The image can't be used: %1.", "Check Image and the options that came with it, or use another image."},
    {OWN("The image's address is of a kind that is unknown or not allowed."), "ImageProtocolNotSupported", "Warning",
     "The image can't be reached in that way: %1.",
     "Use one of TransferProtocolType@Redfish.AllowableValues, or change protocols in the configuration of nbd-proxy."},
    {OWN("The server of the image has a trouble that may pass."), "ImageServerBusy", "Warning",
     "The image can't be read now: %1.", "Try again later, or use another server."},
    {OWN("The server of the image has no certificate that can be verified."), "ImageServerNotTrusted", "Warning",
     "The certificate of the image's server is not trusted: %1.",
     "Mend the certificate, add it or who signed it to the slot's Certificates, set ca-file in the configuration of "
     "nbd-proxy, or set VerifyCertificate to false."},
    {OWN("Nothing listens where the image's server should be."), "ImageServerRefused", "Warning",
     "The image's server refuses connections: %1.", "Check the port of the URL, and that the server runs."},
    {OWN("There is no connection to the server of the image."), "ImageServerUnreachable", "Warning",
     "The image's server can't be reached: %1.",
     "Check scheme, host and port of the URL, and the network between the BMC and that server."},
    {OWN("The server of the image can't send a part of it."), "ImageServerWithoutRanges", "Warning",
     "The image's server can't be used: %1.",
     "Use a server that answers range requests, or one of another protocol, or upload the image."},
    {OWN("The image is larger than the drive can show."), "ImageTooLarge", "Warning", "The image is too large: %1.",
     "Use another slot, or a smaller image."},
    {OWN("An insert failed for a reason on the manager."), "InsertFailed", "Critical",
     "The medium could not be inserted: %1.", "Look into the log of nbd-proxy."},
    {OWN("The slot was ejected while the image was opened."), "InsertGivenUp", "Warning",
     "The insert was given up: %1.", "Insert the image again."},
    {OWN("The medium was inserted, and a step behind that failed."), "InsertedButNotBooted", "Critical", "Not all was done: %1.",
     "The medium stays inserted. Mend what the message names and send the same request again, or set Boot and reset "
     "the system by themselves."},
    {OWN("A medium that is to get in by itself could not be put in yet."), "MediaAwaited", "Warning",
     "The medium of %1 is not in yet and is tried again: %2.",
     "Look after the image's server and the network; or insert something else, or eject, to end the tries."},
    {OWN("What was inserted does not look like a medium."), "MediaDoubtful", "Warning",
     "The medium in %1 may be of no use to the host: %2.", "Check the image, or insert another one."},
    {OWN("A slot is empty again."), "MediaEjected", "OK", "The medium was ejected from %1.", "None."},
    {OWN("A medium could not be inserted, or was ejected because of a failure."), "MediaFailed", "Warning",
     "The medium of %1 failed: %2.", "Check the image and its server, and insert it again."},
    {OWN("A read of the host from a medium that is in is not answered yet."), "MediaHostWaits", "Warning",
     "The host waits for data of the medium in %1: a read at offset %2 is not answered.",
     "Look after the image's server and the network."},
    {OWN("The host can read the medium of a slot."), "MediaInserted", "OK", "%1 was inserted into %2.", "None."},
    {OWN("A medium that could not be read for a while can be."), "MediaReadable", "OK",
     "The medium in %1 can be read again.", "None."},
    {OWN("Reads of the host from a medium that is in failed, and nobody has taken note."), "MediaReadsFailed", "Warning",
     "Of the medium in %1 %2 failed: %3.",
     "See whether the host has to begin again, and dismiss the message on the page or at the control socket."},
    {OWN("The source of a medium that is in is away."), "MediaUnreadable", "Critical",
     "The medium in %1 can't be read now: %2.",
     "Look after the image's server, or the browser that serves it: reads are tried again until then."},
    {OWN("A web page that does not belong to the service asked for a change."), "PageOfAnotherSite", "Critical",
     "The request comes from a page of another site.",
     "Use a client that is no web page, or add the page's origin to origins in the configuration of nbd-proxy."},
    {OWN("An account or an address is locked for a while."), "TooManyWrongPasswords", "Critical",
     "Too many wrong passwords were sent. Retry in %1 seconds.", "Wait for that time, then send the right password."},
};

const struct redfish_entry *redfish_entries(size_t *count)
{
    *count = sizeof entries / sizeof *entries;
    return entries;
}

static const struct redfish_entry *messages_find(const char *key)
{
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (strcmp(entries[i].key, key) == 0)
            return &entries[i];
    assert(!"a message that is in no registry");
    abort();
}

/* Bytes that are no UTF-8 are escaped by api_text() later. */
static void redfish_messages_fill(const char *text, const char *const *arguments, char out[MESSAGE_MAX])
{
    size_t used = 0;
    for (const char *p = text; *p && used < MESSAGE_MAX - 1; p++) {
        if (*p != '%') {
            out[used++] = *p;
            continue;
        }
        const char *argument = arguments[*++p - '1'];
        int length = snprintf(out + used, MESSAGE_MAX - used, "%s", argument);
        used = used + (size_t)length < MESSAGE_MAX ? used + (size_t)length : MESSAGE_MAX - 1;
    }
    out[used] = '\0';
}

json_t *redfish_message(const char *key, const char *property, ...)
{
    const struct redfish_entry *entry = messages_find(key);
    const char *arguments[ARGUMENTS_MAX] = {"", "", ""}, *argument;
    char id[80], text[MESSAGE_MAX], pointer[128];
    json_t *list = json_array();
    va_list rest;
    va_start(rest, property);
    for (unsigned i = 0; i < ARGUMENTS_MAX && (argument = va_arg(rest, const char *)) != NULL; i++) {
        arguments[i] = argument;
        json_array_append_new(list, api_text(argument));
    }
    va_end(rest);
    redfish_messages_fill(entry->text, arguments, text);
    snprintf(id, sizeof id, "%s%s", entry->registry, entry->key);
    json_t *message = json_pack("{s:s, s:s, s:o, s:o, s:s, s:s}", "@odata.type", "#Message.v1_1_2.Message", "MessageId",
                                id, "Message", api_text(text), "MessageArgs", list, "MessageSeverity", entry->severity,
                                "Resolution", entry->resolution);
    if (property) {
        snprintf(pointer, sizeof pointer, "#/%s", property);
        json_object_set_new(message, "RelatedProperties", json_pack("[o]", api_text(pointer)));
    }
    return message;
}

json_t *redfish_condition(json_t *message)
{
    json_object_set(message, "Severity", json_object_get(message, "MessageSeverity"));
    json_object_del(message, "MessageSeverity");
    json_object_del(message, "@odata.type");
    return message;
}

json_t *redfish_resolve(json_t *message, const char *resolution)
{
    json_object_set_new(message, "Resolution", api_text(resolution));
    return message;
}

void redfish_show(const char *property, const json_t *value, char text[64])
{
    if (strcasecmp(property, "Password") == 0 || strcmp(property, "HttpHeaders") == 0 ||
        strcmp(property, "CertificateString") == 0) {
        snprintf(text, 64, "(hidden)");
        return;
    }
    char *all = json_is_string(value) ? mem_strdup(json_string_value(value)) : NULL;
    char *dumped = all ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    text_escape(all ? all : dumped ? dumped : "", text, 64);
    mem_free(all);
    free(dumped);
}
