/* The handshake from the client's side (doc/proto.md, "Newstyle negotiation"). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "nbd/client_internal.h"

/* --- what is asked --- */

static void add_option(struct slices *out, uint32_t option, const void *data, uint32_t length)
{
    uint8_t header[NBD_OPTION_SIZE];
    nbd_encode_option(header, option, length);
    slices_add_copy(out, header, sizeof header);
    slices_add_copy(out, data, length);
}

static void ask_export_name(struct nbd_client *c, struct slices *out)
{
    bool zeroes = !(c->flags & NBD_FLAG_NO_ZEROES);
    add_option(out, NBD_OPT_EXPORT_NAME, c->export_name, (uint32_t)strlen(c->export_name));
    client_expect(c, CLIENT_EXPORT, NBD_EXPORT_SIZE + (zeroes ? NBD_EXPORT_ZEROES : 0));
}

static void ask_go(struct nbd_client *c, struct slices *out)
{
    uint8_t data[4 + NBD_NAME_MAX + 4];
    uint32_t length = (uint32_t)strlen(c->export_name);
    nbd_put32(data, length);
    memcpy(data + 4, c->export_name, length);
    nbd_put16(data + 4 + length, 1);
    nbd_put16(data + 6 + length, NBD_INFO_BLOCK_SIZE);
    add_option(out, NBD_OPT_GO, data, 8 + length);
    client_expect(c, CLIENT_ANSWER, NBD_OPTION_REPLY_SIZE);
}

static void send_out(struct nbd_client *c, struct slices *out)
{
    c->asked_us = client_now_us();
    stream_write(c->stream, out);
}

static void answered(struct nbd_client *c)
{
    uint64_t now = client_now_us();
    if (c->asked_us && c->options.link)
        link_round_trip(c->options.link, now - c->asked_us, true, now);
    c->asked_us = 0;
}

/* --- what is answered --- */

static void learn_flags(struct nbd_client *c, uint16_t flags)
{
    struct nbd_client_facts *facts = &c->facts;
    if (!(flags & NBD_TX_HAS_FLAGS))
        flags = NBD_TX_READ_ONLY; /* what the server can do is not known */
    facts->read_only = flags & NBD_TX_READ_ONLY;
    facts->can_flush = flags & NBD_TX_SEND_FLUSH;
    facts->can_fua = flags & NBD_TX_SEND_FUA;
    facts->can_trim = flags & NBD_TX_SEND_TRIM;
    facts->can_zero = flags & NBD_TX_SEND_WRITE_ZEROES;
    facts->can_fast_zero = flags & NBD_TX_SEND_FAST_ZERO;
}

static void nbd_client_handshake_finish(struct nbd_client *c)
{
    struct nbd_client_facts *facts = &c->facts;
    facts->size_told = c->export.size;
    facts->size = c->options.understand_size(c->export.size);
    learn_flags(c, c->export.flags);
    if (facts->size == 0)
        client_fail(c, -EINVAL, "the image is empty");
    else if (facts->size > NBD_SIZE_MAX)
        client_fail(c, -EINVAL, "the NBD server says that the image has %" PRIu64 " bytes", facts->size);
    else if (facts->block_minimum > NBD_CLIENT_BLOCK_MAX)
        client_fail(c, -EINVAL, "the NBD server takes no request of less than %" PRIu32 " bytes", facts->block_minimum);
    else if (facts->payload_max && facts->payload_max < NBD_CLIENT_BLOCK_MAX)
        client_fail(c, -EINVAL, "the NBD server takes no request of more than %" PRIu32 " bytes", facts->payload_max);
    if (c->phase == CLIENT_DEAD)
        return;
    uv_timer_stop(&c->timer);
    client_transmission_begin(c);
    defer_schedule(c->loop, &c->tell);
}

static void step_greeting(struct nbd_client *c)
{
    uint8_t flags[NBD_CLIENT_FLAGS_SIZE];
    struct slices out;
    uint16_t theirs;
    switch (nbd_decode_greeting(c->in, &theirs)) {
    case NBD_GREETING_UNKNOWN:
        client_fail(c, -EPROTO, "the peer does not speak NBD");
        return;
    case NBD_GREETING_OLDSTYLE:
        client_fail(c, -EPROTO, "the NBD server speaks the old style of NBD only");
        return;
    case NBD_GREETING_NEWSTYLE:
        break;
    }
    c->flags = theirs & (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    nbd_put32(flags, c->flags);
    slices_init(&out);
    slices_add_copy(&out, flags, sizeof flags);
    if (c->options.go && c->flags & NBD_FLAG_FIXED_NEWSTYLE)
        ask_go(c, &out);
    else
        ask_export_name(c, &out);
    send_out(c, &out);
}

static void step_export(struct nbd_client *c)
{
    answered(c);
    nbd_decode_export(c->in, &c->export);
    if (c->export.size == NBD_OPTION_REPLY_MAGIC)
        client_fail(c, -EPROTO, "the NBD server does not know how to answer EXPORT_NAME");
    else
        nbd_client_handshake_finish(c);
}

static void step_info(struct nbd_client *c)
{
    struct nbd_block_sizes sizes;
    if (c->answer.length < 2) {
        client_fail(c, -EPROTO, "the NBD server sent an information without its kind");
        return;
    }
    switch (nbd_get16(c->in)) {
    case NBD_INFO_EXPORT:
        c->exported = nbd_decode_info_export(c->in, c->answer.length, &c->export);
        if (!c->exported)
            client_fail(c, -EPROTO, "the NBD server sent an export's size and flags of the wrong length");
        return;
    case NBD_INFO_BLOCK_SIZE:
        if (!nbd_decode_info_block_size(c->in, c->answer.length, &sizes)) {
            client_fail(c, -EPROTO, "the NBD server sent block sizes that can't be");
            return;
        }
        c->facts.block_minimum = sizes.minimum;
        c->facts.block_preferred = sizes.preferred;
        c->facts.payload_max = sizes.maximum;
        return;
    default:
        return; /* was not asked for, but does no harm */
    }
}

/* GO is refused: EXPORT_NAME is tried, which every server knows, unless the refusal says that the server goes away. */
static void step_refusal(struct nbd_client *c)
{
    char text[CLIENT_INPUT + 1];
    struct slices out;
    for (uint32_t i = 0; i < c->want; i++)
        text[i] = c->in[i] < 0x80 ? (char)c->in[i] : '?'; /* the text may not be UTF-8 */
    text[c->want] = '\0';
    text_escape(text, c->refusal, sizeof c->refusal);
    if (c->answer.reply == NBD_REP_ERR_SHUTDOWN) {
        client_fail(c, -ECONNRESET, "the NBD server shuts down");
        return;
    }
    c->facts = (struct nbd_client_facts){.size = 0};
    slices_init(&out);
    ask_export_name(c, &out);
    send_out(c, &out);
}

static void step_answer_data(struct nbd_client *c)
{
    if (c->answer.reply & NBD_REP_ERROR) {
        step_refusal(c);
        return;
    }
    client_expect(c, CLIENT_ANSWER, NBD_OPTION_REPLY_SIZE);
    if (c->answer.reply == NBD_REP_INFO)
        step_info(c);
    else if (c->answer.reply == NBD_REP_ACK && c->exported && c->answer.length == 0)
        nbd_client_handshake_finish(c);
    else
        client_fail(c, -EPROTO, "the NBD server sent an answer that does not belong to GO");
}

static void step_answer(struct nbd_client *c)
{
    answered(c);
    if (!nbd_decode_option_reply(c->in, &c->answer))
        client_fail(c, -EPROTO, "the NBD server sent an option reply with a wrong magic");
    else if (c->answer.option != NBD_OPT_GO)
        client_fail(c, -EPROTO, "the NBD server answered an option that it was not asked");
    else if (c->answer.length > NBD_CLIENT_ANSWER_MAX || ++c->answers > NBD_CLIENT_ANSWERS)
        client_fail(c, -EPROTO, "the NBD server sent more in answer to an option than can be");
    if (c->phase == CLIENT_DEAD)
        return;
    client_expect(c, CLIENT_ANSWER_DATA, c->answer.length);
    if (c->answer.length == 0)
        step_answer_data(c);
}

void client_handshake_step(struct nbd_client *c)
{
    switch (c->phase) {
    case CLIENT_GREETING:
        step_greeting(c);
        return;
    case CLIENT_ANSWER:
        step_answer(c);
        return;
    case CLIENT_ANSWER_DATA:
        step_answer_data(c);
        return;
    default:
        step_export(c);
        return;
    }
}
