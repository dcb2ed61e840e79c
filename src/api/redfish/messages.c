/* Redfish messages, of DMTF's registry Base and of our own. See api/redfish/internal.h. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/redfish/internal.h"
#include "base/text.h"

#define BASE          "Base.1.18."
#define OWN           "NbdProxy.1.0."
#define ARGUMENTS_MAX 3
#define MESSAGE_MAX   2048
#define RESUBMIT      "Correct the request body and send the request again."

static const struct entry {
    const char *registry, *key, *severity;
    const char *text; /* %1 to %3: the arguments */
    const char *resolution;
} entries[] = {
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

    {OWN, "ImageAccessDenied", "Warning", "The image's server does not let us read it: %1.",
     "Check UserName and Password, and the permissions on the image's server."},
    {OWN, "ImageHasCredentials", "Warning", "The image's URL carries a user or a password.",
     "Give them as UserName and Password."},
    {OWN, "ImageIsLocal", "Warning", "Files of the BMC can't be inserted from here.",
     "Use an image on a server, or set file-directory in the configuration of nbd-proxy."},
    {OWN, "ImageNotFound", "Warning", "There is no such image: %1.", "Check the path of the URL."},
    {OWN, "ImageNotUsable", "Warning", "The image can't be used: %1.",
     "Check Image and the options that came with it, or use another image."},
    {OWN, "ImageServerBusy", "Warning", "The image can't be read now: %1.", "Try again later, or use another server."},
    {OWN, "ImageServerNotTrusted", "Warning", "The certificate of the image's server is not trusted: %1.",
     "Mend the certificate, set ca-file in the configuration of nbd-proxy, or set VerifyCertificate to false."},
    {OWN, "ImageServerUnreachable", "Warning", "The image's server can't be reached: %1.",
     "Check scheme, host and port of the URL, and the network between the BMC and that server."},
    {OWN, "ImageTooLarge", "Warning", "The image is too large: %1.", "Use another slot, or a smaller image."},
    {OWN, "InsertFailed", "Critical", "The medium could not be inserted: %1.", "Look into the log of nbd-proxy."},
    {OWN, "InsertGivenUp", "Warning", "The insert was given up: %1.", "Insert the image again."},
    {OWN, "MediumFailed", "Warning", "%1.", "Check the image and its server, and insert it again."},
    {OWN, "PageOfAnotherSite", "Critical", "The request comes from a page of another site.",
     "Use a client that is no web page, or add the page's origin to origins in the configuration of nbd-proxy."},
    {OWN, "TooManyWrongPasswords", "Critical", "Too many wrong passwords were sent. Retry in %1 seconds.",
     "Wait for that time, then send the right password."},
};

static const struct entry *find(const char *key)
{
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (strcmp(entries[i].key, key) == 0)
            return &entries[i];
    assert(!"a message that is in no registry");
    abort();
}

/* Bytes that are no UTF-8 are escaped by api_text() later. */
static void fill(const char *text, const char *const *arguments, char out[MESSAGE_MAX])
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
    const struct entry *entry = find(key);
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
    fill(entry->text, arguments, text);
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

json_t *redfish_resolve(json_t *message, const char *resolution)
{
    json_object_set_new(message, "Resolution", api_text(resolution));
    return message;
}

void redfish_show(const char *property, const json_t *value, char text[64])
{
    if (strcasecmp(property, "Password") == 0) {
        snprintf(text, 64, "(hidden)");
        return;
    }
    char *all = json_is_string(value) ? mem_strdup(json_string_value(value)) : NULL;
    char *dumped = all ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    text_escape(all ? all : dumped ? dumped : "", text, 64);
    mem_free(all);
    free(dumped);
}
