/*
 * Sessions that outlive the process: a file (JSON, mode 0600) with what is kept of each, which is no token. It is good
 * for the same boot only, since times are those of the monotonic clock. See auth/sessions.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/audit.h"
#include "auth/sessions_internal.h"
#include "base/log.h"
#include "base/text.h"

#define VERSION 1
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static void sessions_file_boot(char id[64])
{
    FILE *file = fopen(BOOT_ID, "re");
    *id = '\0';
    if (file && !fgets(id, 64, file))
        *id = '\0';
    if (file)
        fclose(file);
    id[strcspn(id, "\n")] = '\0';
}

/* --- writing --- */

static json_t *hex_json(const unsigned char *bytes, size_t length)
{
    char hex[2 * SECRET_DIGEST + 1];
    text_hex(bytes, length, hex);
    return json_string(hex);
}

static json_t *session_json(const struct session *session, uint64_t now)
{
    bool idle = session_is_idle(session);
    json_t *o = json_pack("{s:s, s:b, s:s, s:s, s:I, s:I, s:I}", "id", session->id, "browser",
                          session->kind == SESSION_BROWSER, "user", session->user, "peer", session->peer, "created",
                          (json_int_t)session->created, "created_at", (json_int_t)session->created_at, "used_at",
                          (json_int_t)(idle ? session->used_at : now));
    json_object_set_new(o, "digest", hex_json(session->digest, sizeof session->digest));
    json_object_set_new(o, "account", hex_json(session->account, sizeof session->account));
    return o;
}

void sessions_file_write(struct sessions *sessions)
{
    char boot[64];
    if (!sessions->save.path)
        return;
    sessions_file_boot(boot);
    json_t *list = json_array();
    list_for_each (l, &sessions->list)
        json_array_append_new(list, session_json(container_of(l, struct session, link), sessions_now(sessions)));
    json_t *root = json_pack("{s:i, s:s, s:o, s:o}", "version", VERSION, "boot", boot, "csrf_key",
                             hex_json(sessions->csrf_key, SECRET_BYTES), "sessions", list);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!text)
        mem_exhausted();
    uv_timer_stop(&sessions->save_later);
    save_text(&sessions->save, mem_strdup(text));
    explicit_bzero(text, strlen(text));
    free(text);
}

static void on_sessions_file_later(uv_timer_t *timer)
{
    sessions_file_write(timer->data);
}

void sessions_file_write_later(struct sessions *sessions)
{
    if (sessions->save.path && !sessions->closing && !uv_is_active((uv_handle_t *)&sessions->save_later))
        uv_timer_start(&sessions->save_later, on_sessions_file_later, SESSIONS_FILE_MS, 0);
}

/* --- reading --- */

static bool bytes_from_hex(const json_t *object, const char *name, unsigned char *bytes, size_t length)
{
    const char *hex = json_string_value(json_object_get(object, name));
    if (!hex || strlen(hex) != 2 * length || strspn(hex, "0123456789abcdef") != 2 * length)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        sscanf(hex + 2 * i, "%2x", &byte);
        bytes[i] = (unsigned char)byte;
    }
    return true;
}

static bool text_from(const json_t *object, const char *name, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (!text || strlen(text) >= size)
        return false;
    snprintf(to, size, "%s", text);
    return true;
}

static bool time_from(const json_t *object, const char *name, uint64_t now, uint64_t *time)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    *time = (uint64_t)value;
    return value >= 0 && *time <= now;
}

/* NULL: it is damaged, or there is one with its id. */
static struct session *session_from(struct sessions *sessions, const json_t *o, uint64_t now)
{
    struct session *session = mem_alloc(sizeof *session);
    session->sessions = sessions;
    session->kind = json_is_true(json_object_get(o, "browser")) ? SESSION_BROWSER : SESSION_REDFISH;
    session->created = (time_t)json_integer_value(json_object_get(o, "created"));
    session->unchecked = true;
    list_init(&session->attachments);
    if (text_from(o, "id", session->id, sizeof session->id) && strspn(session->id, "0123456789abcdef") == SESSION_ID_MAX - 1 &&
        text_from(o, "user", session->user, sizeof session->user) &&
        text_from(o, "peer", session->peer, sizeof session->peer) &&
        time_from(o, "created_at", now, &session->created_at) && time_from(o, "used_at", now, &session->used_at) &&
        bytes_from_hex(o, "digest", session->digest, sizeof session->digest) &&
        bytes_from_hex(o, "account", session->account, sizeof session->account) && !sessions_by_id(sessions, session->id))
        return session;
    mem_free(session);
    return NULL;
}

static void take_one(struct sessions *sessions, const json_t *o)
{
    uint64_t now = sessions_now(sessions);
    struct session *session = sessions->count < sessions->options.total ? session_from(sessions, o, now) : NULL;
    if (!session)
        return;
    if (session_is_over(session, now)) {
        mem_free(session);
        return;
    }
    list_append(&sessions->list, &session->link);
    sessions->count++;
    auth_audit(AUDIT_SESSION_BEGIN, session->user, session->peer, session->id, "kept over a restart");
}

static void sessions_file_take(struct sessions *sessions, const json_t *root)
{
    char boot[64], then[64];
    const json_t *one;
    size_t i;
    sessions_file_boot(boot);
    if (!*boot) /* times of another boot would count as those of this one */
        return;
    if (json_integer_value(json_object_get(root, "version")) != VERSION || !text_from(root, "boot", then, sizeof then) ||
        strcmp(boot, then) != 0 || !bytes_from_hex(root, "csrf_key", sessions->csrf_key, SECRET_BYTES))
        return;
    json_array_foreach (json_object_get(root, "sessions"), i, one)
        take_one(sessions, one);
}

/* Whoever writes the file can be anybody: nobody else may. NULL: it is ours. */
static const char *foreign_problem(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "it is no file";
    if (st.st_uid != geteuid())
        return "it belongs to another user";
    return st.st_mode & 022 ? "others may write to it" : NULL;
}

/* -1: there is none that may be used. */
static int sessions_file_open_ours(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return -1;
    const char *problem = fd < 0 ? strerror(errno) : foreign_problem(fd);
    if (!problem)
        return fd;
    log_warning("web", "%s: %s: who was logged in has to log in again", path, problem);
    if (fd >= 0)
        close(fd);
    return -1;
}

static json_t *sessions_file_read(const char *path)
{
    int fd = sessions_file_open_ours(path);
    if (fd < 0)
        return NULL;
    char *text = mem_alloc(SESSIONS_FILE_MAX + 1);
    ssize_t got = read(fd, text, SESSIONS_FILE_MAX);
    json_error_t error;
    json_t *root = got > 0 ? json_loadb(text, (size_t)got, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (!root)
        log_warning("web", "%s is damaged: who was logged in has to log in again", path);
    close(fd);
    mem_free_secret(text);
    return root;
}

void sessions_file_open(struct sessions *sessions, char *path)
{
    uv_timer_init(sessions->loop, &sessions->save_later);
    sessions->save_later.data = sessions;
    save_init(&sessions->save, sessions->loop, path, "who is logged in has to log in again after a restart");
    json_t *root = path ? sessions_file_read(path) : NULL;
    if (root)
        sessions_file_take(sessions, root);
    json_decref(root);
}
