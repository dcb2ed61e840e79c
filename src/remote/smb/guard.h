/*
 * What stands between a file server and libsmb2: each message is looked at before the library gets it.
 * libsmb2 takes a server's lengths on trust in places (a sealed message shorter than its header, offsets
 * beyond the end of a message, chains, tokens in SPNEGO), and it takes unsigned answers in a session that signs.
 * Here an answer must be to a request that is waiting, of its command, of this session, not chained,
 * whole, with each part inside it, not longer than what was asked, and signed or sealed as the session is.
 *
 * Inside a sealed message nothing can be looked at: its key is the library's. It comes only once the
 * session has one, and is bounded.
 *
 * Pure: no I/O. Messages as in MS-SMB2 2.1 and 2.2, the login's challenge as in MS-NLMP 2.2.1.2.
 */
#ifndef REMOTE_SMB_GUARD_H
#define REMOTE_SMB_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMB_GUARD_ERROR_MAX  160
#define SMB_GUARD_ASKED_MAX  1024                 /* requests without an answer */
#define SMB_GUARD_HEAD       84                   /* bytes of a message that tell how to treat it */
#define SMB_GUARD_SMALL_MAX  (64u << 10)          /* bytes of a message that carries no data of a file */
#define SMB_GUARD_READ_MAX   (1u << 20)           /* bytes of a file in one message */
#define SMB_GUARD_SEALED_MAX ((64u << 10) + 4096) /* bytes of a sealed message */

struct smb_asked {
    uint64_t id;
    uint16_t command;
    uint32_t length; /* of the answer: a READ's at most, a QUERY_INFO's exactly */
};

struct smb_guard {
    bool must_seal; /* no message about a share may go in clear */
    bool may_guest; /* the server may take us for a guest or nobody: it can't sign then, and need not */

    bool session;                    /* the login has succeeded */
    bool sealed;                     /* answers come sealed from now on */
    int credits;                     /* granted and not used, as far as messages are in clear */
    bool silent;                     /* the last answer only says that another will come */
    int reason;                      /* of the last refusal: a negative errno */
    char error[SMB_GUARD_ERROR_MAX]; /* of the last refusal, in words */

    /* Internal. */
    uint64_t session_id;
    unsigned setups;
    uint16_t dialect;
    unsigned asked_count;
    struct smb_asked asked[SMB_GUARD_ASKED_MAX];
};

enum smb_guard_verdict {
    SMB_GUARD_REFUSE,
    SMB_GUARD_PASS,  /* what was given is good, and the rest of the message is data that may follow */
    SMB_GUARD_WHOLE, /* give the whole message */
};

void smb_guard_init(struct smb_guard *guard, bool must_seal, bool may_guest);
/* Takes note of a whole message from the library. False: it must not be sent. */
bool smb_guard_request(struct smb_guard *guard, const uint8_t *message, size_t length);
/* Judges the first `have` bytes, at least min(SMB_GUARD_HEAD, length), of an answer of `length`
 * bytes. With SMB_GUARD_WHOLE nothing has been noted yet. */
enum smb_guard_verdict smb_guard_answer(struct smb_guard *guard, const uint8_t *message, size_t have, size_t length);

#endif
