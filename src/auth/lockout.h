/*
 * Who may try a password now. Three counts are kept, each under a keyed digest so
 * that nothing a peer sent is stored:
 *
 * - account and address: `failures` (5) wrong passwords for one account from one
 *   address lock that account for that address, for `lock_ms` (30 s); each further
 *   lock is twice as long, up to `lock_max_ms` (15 min). A right password clears it.
 * - address: `address_failures` (20), whatever the accounts were, lock the address
 *   in the same way. A right password takes back what its own account had failed there,
 *   and no more: else somebody with one account could go on guessing at the others.
 * - account: `account_failures` (20) from anywhere make the account guarded: an
 *   address gets one try instead of five before it is locked for this account.
 *
 * Nothing but its own failures ever locks an address out of an account. A lock of
 * the account as such would let anybody keep the administrator out for ever, by
 * failing in his name every 15 minutes. Instead the administrator's first try from
 * any address that did not fail itself is always heard, and an attacker who has N
 * addresses gets N tries a 15 minutes once the account is guarded. Sessions that
 * exist are not touched by any lock, nor is the control socket, nor `nbd-proxy
 * passwd`. Who shares his address with an attacker (a NAT, a front proxy that is not
 * in trusted-proxies) shares the address's locks, but for accounts that are at home there:
 * those with a session from it, or whose password was right there in the last `home_ms`
 * (5 min). What others guess at other names there does not shut them out, and at home an
 * account is not guarded. Locks always end, since a try that a lock refuses neither counts nor
 * prolongs the lock.
 *
 * IPv6 addresses count by their /64, which one host has to itself; IPv4 addresses that are mapped
 * into IPv6 count as IPv4. A count is forgotten when nothing failed, and no lock was on, for twice
 * `lock_max_ms`: who waits for a lock to end does not start anew. At most LOCKOUT_ENTRIES are kept;
 * then the one that is closest to being forgotten goes, of those that are nobody's home if there
 * are any: invented names fill no room that people need. Guesses at names that don't exist count
 * like all others, so that an answer does not tell which names exist.
 */
#ifndef AUTH_LOCKOUT_H
#define AUTH_LOCKOUT_H

#include <stdbool.h>
#include <stdint.h>

#define LOCKOUT_ENTRIES         1024
#define LOCKOUT_ADDRESS_PENDING 8 /* passwords of one address that are being verified */

struct lockout_options { /* 0: the default above */
    unsigned failures, address_failures, account_failures;
    uint64_t lock_ms, lock_max_ms, home_ms;
};

struct lockout;

struct lockout *lockout_new(const struct lockout_options *options);
void lockout_free(struct lockout *lockout);
/* Whether a password may be tried: 0; -EAGAIN: locked, for `retry_ms` more; -EBUSY:
 * as many tries as may fail are under way. `at_home`: the account has a session from
 * that address. `now`: milliseconds that only grow. */
int lockout_admit(struct lockout *lockout, uint64_t now, const char *name, const char *peer, bool at_home,
                  uint64_t *retry_ms);
/* A try begins (after lockout_admit() gave 0), and ends. The end says for how long
 * the account (for the address) and the address are locked by it; 0: they are not. */
struct lockout_result {
    uint64_t account_ms, address_ms;
};
void lockout_begin(struct lockout *lockout, uint64_t now, const char *name, const char *peer);
struct lockout_result lockout_end(struct lockout *lockout, uint64_t now, const char *name, const char *peer,
                                  bool matched);
/* A try that began was not made in the end: it counts as if it had never begun. */
void lockout_abandon(struct lockout *lockout, uint64_t now, const char *name, const char *peer);
/* A right password that needed no try: the same as a try that matched. */
void lockout_clear(struct lockout *lockout, uint64_t now, const char *name, const char *peer);
/* Whether two peers count as one address. */
bool lockout_same_address(const char *peer, const char *other);

#endif
