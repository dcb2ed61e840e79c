/* An SFTP line's SSH connection: see remote/sftp/internal.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "remote/sftp/hosts.h"
#include "remote/sftp/internal.h"

#define KEY_FILE_MAX   (64u << 10)
#define FREE_TRIES_MAX 64

/* --- ends --- */

static void on_sftp_login_watch_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_poll_t *)handle, struct sftp_watch, poll));
}

/* With the socket shut down libssh2 can't wait for the server: each part says that it could not be
 * closed, and is freed. Freeing the session alone would leave the handle and what is half done. */
static void free_session(struct sftp_line *sftp)
{
    unsigned tries = FREE_TRIES_MAX;
    if (!sftp->session)
        return;
    shutdown(sftp->fd, SHUT_RDWR);
    while (sftp->file && libssh2_sftp_close_handle(sftp->file) == LIBSSH2_ERROR_EAGAIN && --tries > 0)
        ;
    while (sftp->channel && libssh2_sftp_shutdown(sftp->channel) == LIBSSH2_ERROR_EAGAIN && --tries > 0)
        ;
    while (libssh2_session_free(sftp->session) == LIBSSH2_ERROR_EAGAIN && --tries > 0)
        ;
    ssh_memory_clear(&sftp->memory);
    sftp->session = NULL;
    sftp->channel = NULL;
    sftp->file = NULL;
}

void sftp_reset(struct sftp_line *sftp)
{
    dial_cancel(sftp->dial);
    sftp->dial = NULL;
    defer_cancel(&sftp->defer);
    uv_timer_stop(&sftp->timer);
    free_session(sftp);
    if (sftp->watch) {
        uv_poll_stop(&sftp->watch->poll);
        uv_close((uv_handle_t *)&sftp->watch->poll, on_sftp_login_watch_closed);
        close(sftp->fd);
    }
    sftp->watch = NULL;
    mem_free(sftp->buffer);
    sftp->buffer = NULL;
    sftp->checked_at = 0;
    sftp->line.established = false;
    sftp->step = SFTP_CLOSED;
}

static const char *ssh_words(struct sftp_line *sftp)
{
    char *words = NULL;
    libssh2_session_last_error(sftp->session, &words, NULL, 0);
    return words && *words ? words : "no reason given";
}

void sftp_fail_ssh(struct sftp_line *sftp, const char *what)
{
    line_fail(&sftp->line, REMOTE_TRANSIENT, 0, "%s: %.160s", what, ssh_words(sftp));
}

/* --- time --- */

static void on_sftp_login_timer(uv_timer_t *timer)
{
    struct sftp_line *sftp = container_of(timer, struct sftp_line, timer);
    if (sftp->line.current)
        line_fail(&sftp->line, REMOTE_TRANSIENT, 0, "the SFTP server sent nothing within stall-timeout (is this the port of its SSH? if "
                                                     "it is slow, raise that)");
    else
        sftp_reset(sftp);
}

void sftp_due(struct sftp_line *sftp, uint64_t ms)
{
    uv_timer_start(&sftp->timer, on_sftp_login_timer, ms, 0);
}

/* --- logging in --- */

/* The file is read each time: it may have been replaced. */
static int try_key(struct sftp_line *sftp)
{
    const struct sftp_image *image = sftp_image_of(sftp);
    size_t length = 0;
    char *key = ssh_read_file(image->key, KEY_FILE_MAX, &length);
    if (!key)
        return LIBSSH2_ERROR_FILE;
    int status = libssh2_userauth_publickey_frommemory(sftp->session, image->lines.user, strlen(image->lines.user), NULL, 0, key,
                                                       length, NULL);
    explicit_bzero(key, length);
    mem_free(key);
    return status;
}

static void on_questions(const char *name, int name_length, const char *instruction, int instruction_length, int count,
                         const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts, LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses,
                         void **abstract)
{
    struct sftp_line *sftp = container_of((struct ssh_memory *)*abstract, struct sftp_line, memory);
    const char *password = sftp->line.lines->password;
    (void)name, (void)name_length, (void)instruction, (void)instruction_length, (void)prompts;
    if (count != 1)
        return; /* it does not ask for a password alone: none is given away */
    unsigned length = (unsigned)strlen(password);
    responses[0].text = ssh_memory_alloc(&sftp->memory, length + 1);
    if (!responses[0].text)
        return;
    memcpy(responses[0].text, password, length + 1);
    responses[0].length = length;
}

static bool server_takes(const struct sftp_line *sftp, const char *method)
{
    return strstr(sftp->methods, method);
}

static void sftp_login_login_refused(struct sftp_line *sftp)
{
    const struct sftp_image *image = sftp_image_of(sftp);
    if (!image->key && !image->lines.password)
        line_fail(&sftp->line, REMOTE_REFUSED, -EACCES, "the SSH server wants a login (give password=, or set ssh-key)");
    else
        line_fail(&sftp->line, REMOTE_REFUSED, -EACCES,
                  "the SSH server refused the login (check user and password or ssh-key; it takes %s)", sftp->methods);
}

/* The next way to log in, after `step`. */
static void next_method(struct sftp_line *sftp)
{
    const struct sftp_image *image = sftp_image_of(sftp);
    if (sftp->step < SFTP_KEY && image->key && server_takes(sftp, "publickey"))
        sftp->step = SFTP_KEY;
    else if (sftp->step < SFTP_PASSWORD && image->lines.password && server_takes(sftp, "password"))
        sftp->step = SFTP_PASSWORD;
    else if (sftp->step < SFTP_QUESTIONS && image->lines.password && server_takes(sftp, "keyboard-interactive"))
        sftp->step = SFTP_QUESTIONS;
    else
        sftp_login_login_refused(sftp);
}

static void sftp_login_logged_in(struct sftp_line *sftp)
{
    sftp->line.established = true;
    sftp->step = SFTP_INIT;
}

static bool do_handshake(struct sftp_line *sftp)
{
    const struct sftp_image *image = sftp_image_of(sftp);
    char error[REMOTE_ERROR_MAX - 64];
    struct ssh_hosts hosts = {image->host_key, image->known_hosts, sftp->place.host, sftp->place.port};
    int status = libssh2_session_handshake(sftp->session, sftp->fd);
    if (status == LIBSSH2_ERROR_EAGAIN)
        return false;
    if (status != 0) {
        sftp_fail_ssh(sftp, "the server does not speak SSH as it is known here");
        return false;
    }
    if (image->verify && !ssh_hosts_check(&hosts, sftp->session, error, sizeof error)) {
        line_fail(&sftp->line, REMOTE_REFUSED, -EKEYREJECTED, "%s", error);
        return false;
    }
    sftp->step = SFTP_METHODS;
    return true;
}

static bool do_methods(struct sftp_line *sftp)
{
    const char *user = sftp->line.lines->user;
    if (!user) {
        line_fail(&sftp->line, REMOTE_REFUSED, -EACCES, "SFTP needs a user (give user=, or set user)");
        return false;
    }
    const char *methods = libssh2_userauth_list(sftp->session, user, (unsigned)strlen(user));
    if (methods) {
        snprintf(sftp->methods, sizeof sftp->methods, "%s", methods);
        next_method(sftp);
        return sftp->session;
    }
    if (libssh2_session_last_errno(sftp->session) == LIBSSH2_ERROR_EAGAIN)
        return false;
    if (libssh2_userauth_authenticated(sftp->session))
        sftp_login_logged_in(sftp);
    else
        sftp_fail_ssh(sftp, "the SSH server does not say how to log in");
    return sftp->session;
}

static bool do_login(struct sftp_line *sftp)
{
    const struct sftp_image *image = sftp_image_of(sftp);
    unsigned user = (unsigned)strlen(image->lines.user);
    int status = sftp->step == SFTP_KEY ? try_key(sftp)
                 : sftp->step == SFTP_PASSWORD
                     ? libssh2_userauth_password_ex(sftp->session, image->lines.user, user, image->lines.password,
                                                    (unsigned)strlen(image->lines.password), NULL)
                     : libssh2_userauth_keyboard_interactive_ex(sftp->session, image->lines.user, user, on_questions);
    if (status == LIBSSH2_ERROR_EAGAIN)
        return false;
    if (status == LIBSSH2_ERROR_FILE)
        line_fail(&sftp->line, REMOTE_REFUSED, -EACCES, "ssh-key can't be read, or is no private key without a pass phrase");
    else if (status == LIBSSH2_ERROR_SOCKET_DISCONNECT || status == LIBSSH2_ERROR_SOCKET_RECV ||
             status == LIBSSH2_ERROR_SOCKET_SEND)
        sftp_fail_ssh(sftp, "the SSH server hung up at the login");
    else if (status == 0)
        sftp_login_logged_in(sftp);
    else
        next_method(sftp);
    return sftp->session;
}

static bool do_init(struct sftp_line *sftp)
{
    sftp->channel = libssh2_sftp_init(sftp->session);
    if (sftp->channel)
        sftp->step = SFTP_OPEN;
    else if (libssh2_session_last_errno(sftp->session) != LIBSSH2_ERROR_EAGAIN)
        sftp_fail_ssh(sftp, "the SSH server has no SFTP");
    return sftp->channel;
}

bool sftp_login_step(struct sftp_line *sftp)
{
    switch (sftp->step) {
    case SFTP_HANDSHAKE:
        return do_handshake(sftp);
    case SFTP_METHODS:
        return do_methods(sftp);
    case SFTP_INIT:
        return do_init(sftp);
    default:
        return do_login(sftp);
    }
}

/* --- connecting --- */

static LIBSSH2_SESSION *session_new(struct sftp_line *sftp)
{
    const struct sftp_image *image = sftp_image_of(sftp);
    struct ssh_hosts hosts = {image->host_key, image->known_hosts, sftp->place.host, sftp->place.port};
    LIBSSH2_SESSION *session = ssh_memory_session(&sftp->memory);
    libssh2_session_set_blocking(session, 0);
    ssh_hosts_prefer(&hosts, session);
    return session;
}

static void on_sftp_login_dialled(void *arg, const struct dial_result *result)
{
    struct sftp_line *sftp = arg;
    sftp->dial = NULL;
    if (result->fd < 0) {
        line_fail(&sftp->line, result->fd == -EPERM ? REMOTE_REFUSED : REMOTE_TRANSIENT, result->fd, "%s", result->error);
        return;
    }
    struct sftp_watch *watch = mem_alloc(sizeof *watch);
    if (uv_poll_init(sftp->line.lines->client.loop, &watch->poll, result->fd) != 0) {
        mem_free(watch);
        close(result->fd);
        line_fail(&sftp->line, REMOTE_TRANSIENT, 0, "the connection to the SSH server was lost");
        return;
    }
    watch->sftp = sftp;
    sftp->watch = watch;
    sftp->fd = result->fd;
    sftp->session = session_new(sftp);
    sftp->buffer = mem_alloc(SFTP_READ_MAX);
    sftp->step = SFTP_HANDSHAKE;
    sftp_due(sftp, sftp->line.lines->stall_timeout_ms);
    sftp_advance(sftp);
}

void sftp_connect(struct sftp_line *sftp)
{
    sftp->step = SFTP_DIAL;
    uv_timer_stop(&sftp->timer);
    sftp->dial = dial_new(sftp->line.lines->client.loop, sftp->place.host, sftp->place.port, sftp->line.lines->local,
                          sftp->line.lines->connect_timeout_ms, on_sftp_login_dialled, sftp);
}
