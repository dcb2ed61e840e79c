#include "api/control/peer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/etc.h"
#include "base/log.h"

#define PROGRAM_MAX 32 /* the kernel keeps 15 characters of a process's name */

bool control_peer_is_owner(const struct control_peer *peer)
{
    return peer->process.uid == 0 || peer->process.uid == geteuid();
}

static void name_user(struct control_peer *peer)
{
    const struct passwd *entry = etc_user_numbered(peer->process.uid);
    if (entry)
        snprintf(peer->user, sizeof peer->user, "%s", entry->pw_name);
    else
        snprintf(peer->user, sizeof peer->user, "uid %u", (unsigned)peer->process.uid);
}

/* What the process calls itself; "": not known. Not its command line: that is memory of the process, which may keep us
 * waiting. */
static void control_peer_read_program(pid_t pid, char program[PROGRAM_MAX])
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL; /* 0: one of another pid namespace */
    if (!file || !fgets(program, PROGRAM_MAX, file))
        *program = '\0';
    program[strcspn(program, "\n")] = '\0';
    if (file)
        fclose(file);
}

static void control_peer_describe(struct control_peer *peer)
{
    char program[PROGRAM_MAX];
    control_peer_read_program(peer->process.pid, program);
    name_user(peer);
    snprintf(peer->from, sizeof peer->from, "control uid=%u pid=%d%s%s", (unsigned)peer->process.uid,
             (int)peer->process.pid, *program ? " name=" : "", program);
}

bool control_peer_admit(struct control_peer *peer, struct stream *stream, gid_t group)
{
    if (socket_peer(stream, &peer->process) != 0)
        return false;
    if (control_peer_is_owner(peer) || (group != (gid_t)-1 && socket_peer_has_group(stream, group))) {
        control_peer_describe(peer);
        return true;
    }
    log_warning("control", "user %u (process %d) was refused", (unsigned)peer->process.uid, (int)peer->process.pid);
    return false;
}
