#include "remote/smb/guard.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEADER       64
#define TRANSFORM    52 /* before a sealed message */
#define SETUPS_MAX   4  /* answers of one login */
#define CONTEXTS_MAX 16
#define CREDITS_MAX  (1 << 20)

enum {
    NEGOTIATE = 0,
    SESSION_SETUP = 1,
    TREE_CONNECT = 3,
    CREATE = 5,
    READ = 8,
    QUERY_INFO = 16,
};

enum { FLAG_ANSWER = 1, FLAG_ASYNC = 2, FLAG_SIGNED = 8 };
enum { SESSION_GUEST = 1, SESSION_NOBODY = 2, SESSION_SEALED = 4 };
enum { MODE_SIGNING = 1, CAPABILITY_SEALING = 0x40, SHARE_SEALED = 0x8000, SHARE_DISK = 1 };
enum { CLASS_NETWORK_OPEN = 0x22 }; /* any other class asks for a number of 8 bytes */
enum { CONTEXT_CIPHERS = 2, AES_128_CCM = 1, DIALECT_3_0 = 0x0300, DIALECT_3_1_1 = 0x0311 };

#define STATUS_PENDING         0x00000103u
#define STATUS_MORE_PROCESSING 0xc0000016u
#define NTLMSSP_CHALLENGE      2
#define NTLMSSP_CHALLENGE_MIN  48

/* A message, and the parts of its header that matter here. */
struct message {
    const uint8_t *at;
    size_t have, length;
    uint32_t status, flags, next;
    uint16_t command;
    uint64_t id, session;
};

static uint16_t le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
    return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static uint64_t le64(const uint8_t *p)
{
    return le32(p) | (uint64_t)le32(p + 4) << 32;
}

__attribute__((format(printf, 3, 4))) static enum smb_guard_verdict refuse(struct smb_guard *guard, int reason,
                                                                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(guard->error, sizeof guard->error, format, args);
    va_end(args);
    guard->reason = reason;
    return SMB_GUARD_REFUSE;
}

static enum smb_guard_verdict malformed(struct smb_guard *guard, const char *what)
{
    return refuse(guard, -EREMOTEIO, "the server's answer is not SMB: %s", what);
}

/* Does a part lie in the message, behind its fixed part? A part without length does. */
static bool inside(const struct message *m, size_t fixed, uint32_t offset, uint32_t length)
{
    return length == 0 || (offset >= fixed && offset <= m->length && length <= m->length - offset);
}

static struct message message_of(const uint8_t *at, size_t have, size_t length)
{
    return (struct message){
        .at = at,
        .have = have,
        .length = length,
        .status = le32(at + 8),
        .command = le16(at + 12),
        .flags = le32(at + 16),
        .next = le32(at + 20),
        .id = le64(at + 24),
        .session = le64(at + 40),
    };
}

void smb_guard_init(struct smb_guard *guard, bool must_seal, bool may_guest)
{
    *guard = (struct smb_guard){.must_seal = must_seal, .may_guest = may_guest};
}

/* --- requests --- */

static const char sealed_magic[] = "\xfdSMB", clear_magic[] = "\xfeSMB", old_magic[] = "\xffSMB";

static bool has_magic(const uint8_t *message, size_t length, const char magic[5])
{
    return length >= 4 && memcmp(message, magic, 4) == 0;
}

bool smb_guard_request(struct smb_guard *guard, const uint8_t *message, size_t length)
{
    if (has_magic(message, length, sealed_magic))
        return true;
    if (length < HEADER + 4 || !has_magic(message, length, clear_magic) || guard->asked_count == SMB_GUARD_ASKED_MAX)
        return false;
    if (guard->must_seal && guard->session)
        return false;
    struct smb_asked *asked = &guard->asked[guard->asked_count];
    *asked = (struct smb_asked){.id = le64(message + 24), .command = le16(message + 12)};
    if (length < HEADER + 8 && (asked->command == READ || asked->command == QUERY_INFO))
        return false;
    if (asked->command == READ)
        asked->length = le32(message + HEADER + 4);
    if (asked->command == QUERY_INFO)
        asked->length = message[HEADER + 3] == CLASS_NETWORK_OPEN ? 56 : 8;
    guard->credits -= le16(message + 6);
    guard->asked_count++;
    return true;
}

static struct smb_asked *find_asked(struct smb_guard *guard, uint64_t id)
{
    for (unsigned i = 0; i < guard->asked_count; i++)
        if (guard->asked[i].id == id)
            return &guard->asked[i];
    return NULL;
}

static void forget_asked(struct smb_guard *guard, struct smb_asked *asked)
{
    *asked = guard->asked[--guard->asked_count];
}

/* --- the answers by command --- */

/* The cipher that the server took; 0: none. False: the contexts reach beyond the message. */
static bool find_cipher(const struct message *m, uint16_t *cipher)
{
    size_t offset = le32(m->at + HEADER + 60);
    unsigned count = le16(m->at + HEADER + 6);
    *cipher = 0;
    if (count > CONTEXTS_MAX)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (offset < HEADER + 64 || offset > m->length || m->length - offset < 8)
            return false;
        uint16_t type = le16(m->at + offset), length = le16(m->at + offset + 2);
        if (length > m->length - offset - 8)
            return false;
        if (type == CONTEXT_CIPHERS && length >= 4 && le16(m->at + offset + 8) == 1)
            *cipher = le16(m->at + offset + 10);
        offset = (offset + 8 + length + 7) & ~(size_t)7;
    }
    return true;
}

static enum smb_guard_verdict check_negotiate(struct smb_guard *guard, const struct message *m)
{
    const uint8_t *body = m->at + HEADER;
    uint16_t cipher = 0;
    if (m->length < HEADER + 64 || le16(body) != 65 || !inside(m, HEADER + 64, le16(body + 56), le16(body + 58)))
        return malformed(guard, "a bad answer to the negotiation");
    guard->dialect = le16(body + 4);
    switch (guard->dialect) {
    case 0x0202:
    case 0x0210:
    case DIALECT_3_0:
    case 0x0302:
        cipher = guard->dialect >= DIALECT_3_0 && (le32(body + 24) & CAPABILITY_SEALING) ? AES_128_CCM : 0;
        break;
    case DIALECT_3_1_1:
        /* Without a token libsmb2 does not look at the contexts. */
        if (le16(body + 58) == 0 || !find_cipher(m, &cipher))
            return malformed(guard, "bad negotiation contexts");
        break;
    default:
        return refuse(guard, -EREMOTEIO, "the server speaks no SMB version that was offered (%#x)", guard->dialect);
    }
    if (guard->must_seal && cipher != AES_128_CCM)
        return refuse(guard, -EREMOTEIO, "the server offers no SMB3 encryption with AES-128-CCM (see smb-encryption)");
    if (!guard->may_guest && !(le16(body + 2) & MODE_SIGNING))
        return refuse(guard, -EREMOTEIO, "the server does not sign (SMB signing must be enabled there)");
    if (le32(body + 32) < 4096)
        return malformed(guard, "a largest read that is too small");
    return SMB_GUARD_PASS;
}

/* The library sends its own token bare, and a server answers in kind. */
static bool challenge_is_sound(const uint8_t *token, size_t length)
{
    if (length < NTLMSSP_CHALLENGE_MIN || memcmp(token, "NTLMSSP", 8) != 0 || le32(token + 8) != NTLMSSP_CHALLENGE)
        return false;
    uint32_t info = le32(token + 44), info_length = le16(token + 42);
    return info < length && info_length <= length - info;
}

/* From now on all is sealed. */
static enum smb_guard_verdict check_sealing(struct smb_guard *guard)
{
    guard->sealed = true;
    if (guard->dialect < DIALECT_3_0)
        return malformed(guard, "encryption before SMB3");
    if (guard->may_guest)
        return refuse(guard, -EACCES, "encryption needs a user (give user and password)");
    return SMB_GUARD_PASS;
}

static enum smb_guard_verdict check_login(struct smb_guard *guard, const struct message *m, uint16_t flags)
{
    bool guest = flags & (SESSION_GUEST | SESSION_NOBODY);
    if (guest && !guard->may_guest)
        return refuse(guard, -EACCES, "the server does not know the user or the password, and takes us for a guest");
    if (!guard->may_guest && !(m->flags & FLAG_SIGNED))
        return refuse(guard, -EREMOTEIO, "the server does not sign (SMB signing must be enabled there)");
    guard->session = true;
    return guard->must_seal || flags & SESSION_SEALED ? check_sealing(guard) : SMB_GUARD_PASS;
}

static enum smb_guard_verdict check_session_setup(struct smb_guard *guard, const struct message *m)
{
    const uint8_t *body = m->at + HEADER;
    uint16_t offset = 0, length = 0;
    if (m->length < HEADER + 8 || le16(body) != 9)
        return malformed(guard, "a bad answer to the login");
    offset = le16(body + 4);
    length = le16(body + 6);
    if (!inside(m, HEADER + 8, offset, length) || guard->session || ++guard->setups > SETUPS_MAX)
        return malformed(guard, "a bad answer to the login");
    if (guard->session_id && guard->session_id != m->session)
        return malformed(guard, "another session");
    guard->session_id = m->session;
    if (m->status == 0)
        return check_login(guard, m, le16(body + 2));
    if (length == 0 || !challenge_is_sound(m->at + offset, length))
        return malformed(guard, "a bad NTLM challenge");
    return SMB_GUARD_PASS;
}

static enum smb_guard_verdict check_tree_connect(struct smb_guard *guard, const struct message *m)
{
    const uint8_t *body = m->at + HEADER;
    if (m->length < HEADER + 16 || le16(body) != 16)
        return malformed(guard, "a bad answer about the share");
    if (body[2] != SHARE_DISK)
        return refuse(guard, -EINVAL, "the share is not one of files");
    return le32(body + 4) & SHARE_SEALED ? check_sealing(guard) : SMB_GUARD_PASS;
}

static enum smb_guard_verdict check_read(struct smb_guard *guard, const struct message *m, uint32_t asked)
{
    const uint8_t *body = m->at + HEADER;
    if (m->length < HEADER + 16 || le16(body) != 17)
        return malformed(guard, "a bad answer to a read");
    uint32_t length = le32(body + 4);
    if (length > asked || (length && body[2] != HEADER + 16) || !inside(m, HEADER + 16, HEADER + 16, length))
        return malformed(guard, "more or other data than was asked for");
    return SMB_GUARD_PASS;
}

/* Checks an answer with a fixed part of `fixed` bytes and another part behind it. */
static enum smb_guard_verdict check_other(struct smb_guard *guard, const struct message *m, uint32_t asked)
{
    static const struct shape {
        uint16_t command, size, fixed;
        uint8_t offset, length; /* where the part's are: 16 and 32 bits in QUERY_INFO, 32 and 32 in CREATE */
    } shapes[] = {{CREATE, 89, 88, 80, 84}, {QUERY_INFO, 9, 8, 2, 4}};
    const uint8_t *body = m->at + HEADER;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        if (s->command != m->command)
            continue;
        if (m->length < HEADER + (size_t)s->fixed || le16(body) != s->size)
            return malformed(guard, "an answer of a wrong form");
        uint32_t offset = m->command == CREATE ? le32(body + s->offset) : le16(body + s->offset);
        uint32_t length = le32(body + s->length);
        bool good = inside(m, HEADER + s->fixed, offset, length) && (m->command == CREATE || length == asked);
        return good ? SMB_GUARD_PASS
                    : malformed(guard, "a part that lies outside of its message, or is of another length");
    }
    return malformed(guard, "an answer to nothing that was asked");
}

/* When a READ ends with an error, libsmb2 takes what follows for the bytes that were read. */
static enum smb_guard_verdict check_error(struct smb_guard *guard, const struct message *m)
{
    if (m->command == READ && m->length >= HEADER + 8 && le32(m->at + HEADER + 4) != 0)
        return malformed(guard, "a bad error");
    if (m->length < HEADER + 8 || le16(m->at + HEADER) != 9 || le32(m->at + HEADER + 4) > m->length - HEADER - 8)
        return malformed(guard, "a bad error");
    return SMB_GUARD_PASS;
}

/* --- an answer --- */

static bool is_error(const struct message *m)
{
    return m->status >> 30 == 3 && m->status != STATUS_MORE_PROCESSING;
}

static enum smb_guard_verdict check_body(struct smb_guard *guard, const struct message *m, uint32_t asked)
{
    if (m->status == STATUS_PENDING || is_error(m))
        return check_error(guard, m);
    if (m->status != 0 && !(m->status == STATUS_MORE_PROCESSING && m->command == SESSION_SETUP))
        return malformed(guard, "a status that is neither success nor failure");
    switch (m->command) {
    case NEGOTIATE:
        return check_negotiate(guard, m);
    case SESSION_SETUP:
        return check_session_setup(guard, m);
    case TREE_CONNECT:
        return check_tree_connect(guard, m);
    case READ:
        return check_read(guard, m, asked);
    default:
        return check_other(guard, m, asked);
    }
}

static enum smb_guard_verdict check_session(struct smb_guard *guard, const struct message *m)
{
    if (!guard->session || m->command <= SESSION_SETUP)
        return SMB_GUARD_PASS;
    if (m->session != guard->session_id)
        return malformed(guard, "another session");
    if (guard->sealed)
        return refuse(guard, -EREMOTEIO, "an answer of the server is not encrypted");
    if (!guard->may_guest && m->status != STATUS_PENDING && !(m->flags & FLAG_SIGNED))
        return refuse(guard, -EREMOTEIO, "an answer of the server is not signed");
    return SMB_GUARD_PASS;
}

static enum smb_guard_verdict check_clear(struct smb_guard *guard, const struct message *m)
{
    struct smb_asked *asked = find_asked(guard, m->id);
    bool waits = m->status == STATUS_PENDING && m->flags & FLAG_ASYNC;
    if (le16(m->at + 4) != HEADER || !(m->flags & FLAG_ANSWER) || m->next != 0 ||
        (m->status == STATUS_PENDING && !waits))
        return malformed(guard, "a bad header");
    if (!asked || asked->command != m->command)
        return malformed(guard, "an answer to nothing that was asked");
    if (check_session(guard, m) == SMB_GUARD_REFUSE)
        return SMB_GUARD_REFUSE;
    uint32_t length = asked->length;
    guard->credits += guard->credits < CREDITS_MAX ? le16(m->at + 14) : 0;
    guard->silent = waits;
    if (!waits)
        forget_asked(guard, asked);
    return check_body(guard, m, length);
}

/* Only a READ's data is not looked at. */
static bool data_follows(const struct message *m)
{
    return m->command == READ && m->status == 0;
}

enum smb_guard_verdict smb_guard_answer(struct smb_guard *guard, const uint8_t *message, size_t have, size_t length)
{
    guard->silent = false;
    if (has_magic(message, have, sealed_magic)) {
        if (!guard->sealed || length < TRANSFORM + HEADER || length > SMB_GUARD_SEALED_MAX)
            return malformed(guard, "an encrypted message that can't be");
        return SMB_GUARD_PASS;
    }
    if (has_magic(message, have, old_magic))
        return refuse(guard, -EREMOTEIO,
                      "the server speaks only SMB1, which is not supported (SMB2 or SMB3 must be enabled there)");
    if (length < HEADER + 4 || have < HEADER + 4 || !has_magic(message, have, clear_magic))
        return malformed(guard, "no header");
    struct message m = message_of(message, have, length);
    if (length > (data_follows(&m) ? SMB_GUARD_READ_MAX + HEADER + 16 + 8 : SMB_GUARD_SMALL_MAX))
        return malformed(guard, "too long");
    if (have < length && !data_follows(&m))
        return SMB_GUARD_WHOLE;
    return check_clear(guard, &m);
}
