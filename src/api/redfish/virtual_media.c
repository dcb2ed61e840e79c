/* VirtualMedia: what is in the slots. See api/redfish/internal.h, and insert.c for its changes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"

json_t *redfish_media_list(struct redfish_call *call)
{
    char id[REDFISH_SLOT_ID];
    json_t *collection = redfish_collection(call, "Virtual Media Collection");
    for (unsigned i = 0; i < slots_count(call->site->slots); i++) {
        redfish_media_id(i, id);
        redfish_add_member(collection, REDFISH_MEDIA, id);
    }
    return collection;
}

bool redfish_media_verify(const struct redfish_call *call, const struct slot_status *status)
{
    int verify = redfish_setting(call->redfish, status->name)->verify;
    return status->state == SLOT_EMPTY && verify >= 0 ? verify : status->verify;
}

/* --- protocols --- */

/* VirtualMedia's TransferProtocolType. FTP over TLS has no name of its own there. */
static const struct protocol {
    const char *name;
    enum location_kind kind;
} protocols[] = {
    {"CIFS", LOCATION_SMB},    {"FTP", LOCATION_FTP}, {"FTP", LOCATION_FTPS},  {"HTTP", LOCATION_HTTP},
    {"HTTPS", LOCATION_HTTPS}, {"NFS", LOCATION_NFS}, {"SFTP", LOCATION_SFTP},
};

static const char *protocol_name(const char *image)
{
    enum location_kind kind = location_kind(image);
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (protocols[i].kind == kind)
            return protocols[i].name;
    return "OEM";
}

bool redfish_media_speaks(const struct slot *slot, const char *protocol)
{
    bool speaks = false;
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        speaks = speaks || (strcmp(protocols[i].name, protocol) == 0 && slot_speaks(slot, protocols[i].kind));
    return speaks;
}

bool redfish_media_is_of(const char *image, const char *protocol)
{
    return strcmp(protocol_name(image), protocol) == 0;
}

static bool takes_urls(const struct slot *slot)
{
    bool takes = false;
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        takes = takes || slot_speaks(slot, protocols[i].kind);
    return takes;
}

json_t *redfish_media_protocols(const struct slot *slot)
{
    json_t *names = json_array();
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if ((i == 0 || strcmp(protocols[i].name, protocols[i - 1].name) != 0) &&
            redfish_media_speaks(slot, protocols[i].name))
            json_array_append_new(names, json_string(protocols[i].name));
    return names;
}

/* --- one --- */

static json_t *media_types(enum config_media media)
{
    return media == MEDIA_CD ? json_pack("[s,s]", "CD", "DVD") : json_pack("[s]", "USBStick");
}

/* A URL's query may be a password in itself: only those who may insert see it. */
static const char *virtual_media_image_of(const struct redfish_call *call, const struct slot_status *s)
{
    return auth_allows(call->role, AUTH_CONFIGURE_COMPONENTS) ? s->url : s->image;
}

static json_t *text_or_null(const char *text)
{
    return *text ? api_text(text) : json_null();
}

/* By "OEM" webui-vue knows media that come over a WebSocket. An empty slot has it too, if nothing else can come. */
static json_t *protocol(const struct slot *slot, const struct slot_status *s)
{
    bool url = s->via == SLOT_VIA_URL && *s->url;
    if (url || s->via == SLOT_VIA_BROWSER)
        return json_string(protocol_name(s->url));
    return takes_urls(slot) ? json_null() : json_string("OEM");
}

static void virtual_media_add_image(const struct redfish_call *call, json_t *media, const struct slot *slot, const struct slot_status *s)
{
    bool inserted = s->state == SLOT_READY, url = s->via == SLOT_VIA_URL && *s->url;
    const char *via = !inserted ? "NotConnected" : s->via == SLOT_VIA_BROWSER ? "Applet" : "URI";
    const char *name = *s->image_name || s->via == SLOT_VIA_NOTHING ? s->image_name : "image";
    json_object_set_new(media, "Image", url ? api_text(virtual_media_image_of(call, s)) : json_null());
    json_object_set_new(media, "ImageName", text_or_null(name));
    json_object_set_new(media, "Inserted", json_boolean(inserted));
    json_object_set_new(media, "ConnectedVia", json_string(via));
    json_object_set_new(media, "WriteProtected", json_boolean(!inserted || !s->writable));
    json_object_set_new(media, "UserName", url ? text_or_null(s->user) : json_null());
    json_object_set_new(media, "Password", json_null());
    json_object_set_new(media, "TransferMethod", url ? json_string("Stream") : json_null());
    json_object_set_new(media, "TransferProtocolType", protocol(slot, s));
    json_object_set_new(media, "VerifyCertificate", json_boolean(redfish_media_verify(call, s)));
    redfish_stay_show(call, s, media);
}

static json_t *media_condition(const struct redfish_call *call, json_t *message, time_t at)
{
    json_t *condition = redfish_condition(message);
    json_object_set_new(condition, "Timestamp", redfish_time(at));
    json_object_set_new(condition, "OriginOfCondition", redfish_link(call->path));
    return condition;
}

/* The error is over, and all that it did is told by the condition of the failed reads. */
static bool is_of_failed_reads(const struct slot_status *s)
{
    return !s->failing && host_reads_unseen(s->reads) > 0 && strcmp(s->reads->failed.why, s->error) == 0;
}

/* The last failure, in words; NULL: there was none. A failure that lasts has a higher severity than one that is
 * over. */
static json_t *condition(const struct redfish_call *call, const struct slot_status *s)
{
    const char *words = *s->error ? s->error : "it is away";
    if ((!*s->error && !s->failing) || is_of_failed_reads(s))
        return NULL;
    const char *key = s->failing ? "MediaUnreadable" : *s->awaited ? "MediaAwaited" : "MediaFailed";
    return media_condition(call, redfish_message(key, NULL, s->name, words, NULL), s->error_at);
}

/* A read that waits; NULL: the host does not wait. What is said stays the same while it does, and so does the ETag. */
static json_t *condition_waits(const struct redfish_call *call, const struct slot_status *s)
{
    char offset[24];
    struct timespec now;
    if (!slot_host_waits(s))
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(offset, sizeof offset, "%" PRIu64, s->oldest.offset);
    return media_condition(call, redfish_message("MediaHostWaits", NULL, s->name, offset, NULL),
                           (time_t)(((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 - s->oldest.waited_us) / 1000000));
}

/* Reads that failed; NULL: none did of which nobody has taken note. */
static json_t *condition_failed(const struct redfish_call *call, const struct slot_status *s)
{
    const struct host_reads_failed *failed = &s->reads->failed;
    uint64_t count = host_reads_unseen(s->reads);
    char reads[40], last[SOURCE_ERROR_MAX + 40];
    if (count == 0)
        return NULL;
    snprintf(reads, sizeof reads, "%" PRIu64 " %s", count, count == 1 ? "read" : "reads");
    snprintf(last, sizeof last, "the last at offset %" PRIu64 ", %s", failed->offset, failed->why);
    return media_condition(call, redfish_message("MediaReadsFailed", NULL, s->name, reads, last, NULL), failed->at);
}

/* Critical is the one that lasts, and comes first. */
static json_t *redfish_virtual_media_status_of(const struct redfish_call *call, const struct slot_status *s)
{
    json_t *conditions = json_array(), *all[] = {condition(call, s), condition_waits(call, s), condition_failed(call, s)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            json_array_append_new(conditions, all[i]);
    const json_t *worst = json_array_get(conditions, 0);
    const char *health = worst ? json_string_value(json_object_get(worst, "Severity")) : "OK";
    json_t *status = json_pack("{s:s, s:s}", "State", s->waiting ? "StandbyOffline" : "Enabled", "Health", health);
    json_object_set_new(status, "Conditions", conditions);
    return status;
}

static json_t *action(const struct redfish_call *call, const char *name)
{
    char target[2 * REDFISH_PATH_MAX];
    snprintf(target, sizeof target, "%s/Actions/VirtualMedia.%s", call->path, name);
    return json_pack("{s:s}", "target", target);
}

static json_t *redfish_virtual_media_actions(const struct redfish_call *call, const struct slot *slot,
                                             const struct slot_status *s)
{
    json_t *redfish_virtual_media_actions = json_pack("{s:o}", "#VirtualMedia.EjectMedia", action(call, "EjectMedia"));
    if (!takes_urls(slot))
        return redfish_virtual_media_actions; /* clients look for another slot then */
    char info[2 * REDFISH_PATH_MAX];
    json_t *insert = action(call, "InsertMedia");
    json_object_set_new(insert, "TransferProtocolType@Redfish.AllowableValues", redfish_media_protocols(slot));
    json_object_set_new(insert, "TransferMethod@Redfish.AllowableValues", json_pack("[s]", "Stream"));
    json_object_set_new(insert, "EjectPolicy@Redfish.AllowableValues", redfish_eject_policies(call, s));
    snprintf(info, sizeof info, "%s/InsertMediaActionInfo", call->path);
    json_object_set_new(insert, "@Redfish.ActionInfo", json_string(info));
    json_object_set_new(redfish_virtual_media_actions, "#VirtualMedia.InsertMedia", insert);
    return redfish_virtual_media_actions;
}

static json_t *oem(const struct redfish_call *call, const struct slot_status *s)
{
    char websocket[32];
    snprintf(websocket, sizeof websocket, "/nbd/%u", s->index);
    return json_pack("{s:{s:s, s:s, s:s}, s:{s:s, s:s, s:I}}", "OpenBMC", "@odata.type",
                     "#OpenBMCVirtualMedia.v1_0_0.VirtualMedia", "@odata.id", call->path, "WebSocketEndpoint",
                     websocket, "NbdProxy", "@odata.type", "#NbdProxyVirtualMedia.v1_0_0.VirtualMedia", "State",
                     slot_state_name(s->state), "SizeBytes", (json_int_t)s->size);
}

json_t *redfish_media(struct redfish_call *call)
{
    struct slot *slot = redfish_media_slot(call);
    struct slot_status s;
    char certificates[REDFISH_PATH_MAX];
    if (!slot)
        return NULL;
    slot_get_status(slot, &s);
    snprintf(certificates, sizeof certificates, REDFISH_MEDIA "/%s/Certificates", call->id);
    json_t *media = redfish_resource(TYPE_VIRTUAL_MEDIA, call->path, call->id, "VirtualMedia"); /* as OpenBMC's guide has it */
    json_object_set_new(media, "Description",
                        json_sprintf("%s %s", s.media == MEDIA_CD ? "Virtual CD/DVD drive" : "Virtual USB stick", s.name));
    json_object_set_new(media, "MediaTypes", media_types(s.media));
    virtual_media_add_image(call, media, slot, &s);
    json_object_set_new(media, "TransferProtocolType@Redfish.AllowableValues", redfish_media_protocols(slot));
    json_object_set_new(media, "TransferMethod@Redfish.AllowableValues", json_pack("[s]", "Stream"));
    json_object_set_new(media, "Certificates", redfish_link(certificates));
    snprintf(certificates, sizeof certificates, REDFISH_OWN_MEDIA "/%s/ClientCertificates", call->id);
    json_object_set_new(media, "ClientCertificates", redfish_link(certificates));
    json_object_set_new(media, "Status", redfish_virtual_media_status_of(call, &s));
    json_object_set_new(media, "Actions", redfish_virtual_media_actions(call, slot, &s));
    json_object_set_new(media, "Oem", oem(call, &s));
    redfish_set_writeable(media, "", redfish_media_properties);
    if (*s.warning)
        json_object_set_new(media, "@Message.ExtendedInfo",
                            json_pack("[o]", redfish_message("MediaDoubtful", NULL, s.name, s.warning, NULL)));
    return media;
}

void redfish_media_volatiles(struct redfish_call *call, json_t *resource)
{
    struct slot_status s;
    slot_get_status(redfish_media_slot(call), &s);
    json_t *statistics =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "HostReadBytes", (json_int_t)s.server.read_bytes, "ImageReadBytes",
                  (json_int_t)s.counters.source.bytes, "CacheHits", (json_int_t)s.counters.source.hits, "CacheMisses",
                  (json_int_t)s.counters.source.misses, "CachedBytes", (json_int_t)s.counters.cached,
                  "RoundTripMicroseconds", (json_int_t)s.counters.source.quiet_rtt_us);
    json_object_set_new(json_object_get(json_object_get(resource, "Oem"), "NbdProxy"), "Statistics", statistics);
}
