#include "host/hook.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"

#define WHO        "host"
#define WORDS_MAX  128 /* of a request */
#define CHUNK      1024

struct hook {
    struct host_backend backend;
    uv_loop_t *loop;
    char *path;
    uint64_t timeout_ms;
    host_hook_start *start;
    struct hook_run *run; /* NULL: nothing runs */
    struct defer closed;
};

/* One of the two pipes from the process. */
struct hook_pipe {
    uv_pipe_t pipe;
    int fd; /* our end, until the pipe has it; the process's end is `other` */
    int other;
    bool ended;
    char chunk[CHUNK];
};

/* A process, from before its start until all is closed. */
struct hook_run {
    struct hook *hook;
    uv_poll_t call; /* the socket to whoever started the process */
    int call_fd;    /* -1: none */
    uv_timer_t timer;
    struct hook_pipe out, err;
    enum host_verb verb;
    char words[WORDS_MAX];
    char answer[HOOK_ANSWER_MAX + 1];
    size_t answered;
    char line[HOOK_LINE_MAX]; /* of stderr, so far */
    size_t line_used;
    char last_line[HOOK_LINE_MAX];
    unsigned lines;
    bool polled; /* the handle of the call is in use */
    bool exited;
    struct hook_end end;
    unsigned signals; /* sent to end it */
    bool closing;
    int status; /* why the process is ended before its time; 0: it is not */
    char error[HOST_ERROR_MAX];
    struct closing handles;
};

/* --- the end --- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void on_run_closed(struct closing *closing)
{
    struct hook_run *run = container_of(closing, struct hook_run, handles);
    struct hook *hook = run->hook;
    struct host_state state;
    close_fd(&run->call_fd);
    memset(&state, 0, sizeof state);
    if (run->status == 0 && run->verb == HOST_GET && !hook_answer_parse(run->answer, &state, run->error))
        run->status = -EPROTO;
    hook->run = NULL;
    hook->backend.done(&hook->backend, run->status, run->error, &state);
    mem_free(run);
}

__attribute__((format(printf, 3, 4))) static void fail(struct hook_run *run, int status, const char *format, ...)
{
    va_list args;
    if (run->status != 0)
        return; /* only the first reason counts */
    run->status = status;
    va_start(args, format);
    vsnprintf(run->error, sizeof run->error, format, args);
    va_end(args);
}

static void fail_start(struct hook_run *run, int status)
{
    const char *why = *run->end.error ? run->end.error : uv_strerror(status);
    fail(run, -EIO, "the hook %.200s can't be started: %s", run->hook->path, why);
}

static int hook_status_of(int code)
{
    return code == HOOK_NOT_SUPPORTED ? -ENOTSUP : code == HOOK_NOT_NOW ? -EAGAIN : -EIO;
}

static void hook_judge(struct hook_run *run)
{
    const char *said = *run->last_line ? ": " : "";
    if (run->end.killed_by != 0)
        fail(run, -EIO, "the hook's \"%s\" was killed by signal %d%s%s", run->words, run->end.killed_by, said,
             run->last_line);
    else if (run->end.code != 0)
        fail(run, hook_status_of(run->end.code), "the hook's \"%s\" ended with %d%s%s", run->words, run->end.code, said,
             run->last_line);
}

static void hook_finish(struct hook_run *run)
{
    if (run->closing)
        return;
    run->closing = true;
    hook_judge(run);
    close_fd(&run->out.fd);
    close_fd(&run->err.fd);
    closing_begin(&run->handles, run->hook->loop, on_run_closed);
    if (run->polled)
        closing_add(&run->handles, (uv_handle_t *)&run->call);
    closing_add(&run->handles, (uv_handle_t *)&run->timer);
    closing_add(&run->handles, (uv_handle_t *)&run->out.pipe);
    closing_add(&run->handles, (uv_handle_t *)&run->err.pipe);
    closing_end(&run->handles);
}

static void signal_group(struct hook_run *run, uint32_t number)
{
    send(run->call_fd, &number, sizeof number, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_patience_ended(uv_timer_t *timer);

/* First SIGTERM, so that a script can let go of a button; then SIGKILL; then the process is given up. */
static void end_process(struct hook_run *run)
{
    if (run->exited) {
        hook_finish(run);
    } else if (run->signals < 2) {
        signal_group(run, run->signals++ == 0 ? SIGTERM : SIGKILL);
        uv_timer_start(&run->timer, on_patience_ended, HOOK_KILL_MS, 0);
    } else {
        log_error(WHO, "the hook's process does not die; it is left alone");
        hook_finish(run);
    }
}

static void on_patience_ended(uv_timer_t *timer)
{
    end_process(container_of(timer, struct hook_run, timer));
}

static void on_hook_timeout(uv_timer_t *timer)
{
    struct hook_run *run = container_of(timer, struct hook_run, timer);
    char limit[TEXT_SIZE_MAX];
    text_duration(run->hook->timeout_ms, limit);
    fail(run, -ETIMEDOUT, "the hook's \"%s\" was ended since it took longer than %s (host-timeout)", run->words, limit);
    end_process(run);
}

static void on_drained(uv_timer_t *timer)
{
    hook_finish(container_of(timer, struct hook_run, timer));
}

/* The process has ended: all that it wrote is in the pipes, and they end unless others hold them. */
static void finish_when_read(struct hook_run *run)
{
    if (!run->exited)
        return;
    if ((run->out.ended && run->err.ended) || run->status != 0)
        hook_finish(run);
    else if (!run->closing)
        uv_timer_start(&run->timer, on_drained, HOOK_DRAIN_MS, 0);
}

/* --- stderr: lines for the log --- */

static void hook_log_stderr(struct hook_run *run)
{
    if (run->line_used == 0)
        return;
    run->line[run->line_used] = '\0';
    run->line_used = 0;
    text_escape(run->line, run->last_line, sizeof run->last_line);
    if (run->lines++ < HOOK_LOG_LINES)
        log_notice(WHO, "hook: %s: %s", run->words, run->line);
    else if (run->lines == HOOK_LOG_LINES + 1)
        log_notice(WHO, "hook: %s: it says more, which is not logged", run->words);
}

static void take_stderr(struct hook_run *run, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (data[i] == '\n')
            hook_log_stderr(run);
        else if (run->line_used < sizeof run->line - 1)
            run->line[run->line_used++] = data[i] ? data[i] : ' ';
    }
}

/* --- stdout: the answer --- */

static void take_stdout(struct hook_run *run, const char *data, size_t length)
{
    if (run->status != 0)
        return;
    if (memchr(data, '\0', length)) {
        fail(run, -EPROTO, "the hook's answer to \"%s\" has a NUL byte", run->words);
    } else if (length > HOOK_ANSWER_MAX - run->answered) {
        fail(run, -EPROTO, "the hook's answer to \"%s\" has more than %d bytes", run->words, HOOK_ANSWER_MAX);
    } else {
        memcpy(run->answer + run->answered, data, length);
        run->answered += length;
        return;
    }
    end_process(run);
}

/* --- what comes from the process --- */

static void on_hook_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct hook_pipe *pipe = container_of((uv_pipe_t *)handle, struct hook_pipe, pipe);
    (void)suggested;
    *buffer = uv_buf_init(pipe->chunk, sizeof pipe->chunk);
}

static void end_pipe(struct hook_run *run, struct hook_pipe *pipe)
{
    pipe->ended = true;
    uv_read_stop((uv_stream_t *)&pipe->pipe);
    finish_when_read(run);
}

static void on_stdout(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct hook_run *run = container_of((uv_pipe_t *)stream, struct hook_run, out.pipe);
    if (length > 0)
        take_stdout(run, buffer->base, (size_t)length);
    else if (length < 0)
        end_pipe(run, &run->out);
}

static void on_stderr(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct hook_run *run = container_of((uv_pipe_t *)stream, struct hook_run, err.pipe);
    if (length > 0)
        take_stderr(run, buffer->base, (size_t)length);
    if (length < 0) {
        hook_log_stderr(run);
        end_pipe(run, &run->err);
    }
}

static void on_hook_call(uv_poll_t *poll, int status, int events)
{
    struct hook_run *run = container_of(poll, struct hook_run, call);
    (void)status, (void)events;
    ssize_t n = recv(run->call_fd, &run->end, sizeof run->end, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    uv_poll_stop(poll);
    run->exited = true;
    run->end.error[sizeof run->end.error - 1] = '\0';
    if (n != sizeof run->end)
        fail(run, -EIO, "who runs the hook has ended");
    else if (run->end.status != 0)
        fail_start(run, run->end.status);
    finish_when_read(run);
}

/* --- the start --- */

/* A pipe and no socket: a script may open /dev/stdout. */
static int open_pipe(uv_loop_t *loop, struct hook_pipe *pipe)
{
    uv_file fds[2];
    uv_pipe_init(loop, &pipe->pipe, 0);
    pipe->fd = pipe->other = -1;
    int status = uv_pipe(fds, UV_NONBLOCK_PIPE, 0);
    if (status != 0)
        return status;
    pipe->fd = fds[0];
    pipe->other = fds[1];
    status = uv_pipe_open(&pipe->pipe, pipe->fd);
    if (status == 0)
        pipe->fd = -1;
    return status;
}

static int hook_spawn(struct hook_run *run, const struct host_request *request)
{
    struct hook *hook = run->hook;
    run->call_fd = hook->start(hook->path, request, run->out.other, run->err.other);
    if (run->call_fd < 0)
        return run->call_fd;
    int status = uv_poll_init(hook->loop, &run->call, run->call_fd);
    run->polled = status == 0;
    return status == 0 ? uv_poll_start(&run->call, UV_READABLE, on_hook_call) : status;
}

static void hook_begin(struct hook_run *run, const struct host_request *request)
{
    struct hook *hook = run->hook;
    int out = open_pipe(hook->loop, &run->out), err = open_pipe(hook->loop, &run->err);
    uv_timer_init(hook->loop, &run->timer);
    int status = out != 0 ? out : err;
    if (status == 0)
        status = hook_spawn(run, request);
    close_fd(&run->out.other);
    close_fd(&run->err.other);
    if (status != 0) {
        fail_start(run, status);
        hook_finish(run);
        return;
    }
    uv_read_start((uv_stream_t *)&run->out.pipe, on_hook_alloc, on_stdout);
    uv_read_start((uv_stream_t *)&run->err.pipe, on_hook_alloc, on_stderr);
    uv_timer_start(&run->timer, on_hook_timeout, hook->timeout_ms, 0);
}

static void hook_run(struct host_backend *backend, const struct host_request *request)
{
    struct hook *hook = container_of(backend, struct hook, backend);
    struct hook_run *run = mem_alloc(sizeof *run);
    run->hook = hook;
    run->call_fd = -1;
    run->verb = request->verb;
    host_request_text(request, run->words, sizeof run->words);
    hook->run = run;
    hook_begin(run, request);
}

static void hook_cancel(struct host_backend *backend)
{
    struct hook_run *run = container_of(backend, struct hook, backend)->run;
    if (!run || run->closing)
        return;
    fail(run, -ECANCELED, "the hook's \"%s\" was ended since the daemon stops", run->words);
    if (run->signals == 0)
        end_process(run);
}

/* --- life --- */

static void on_hook_closed(struct defer *defer)
{
    struct hook *hook = container_of(defer, struct hook, closed);
    struct host_backend backend = hook->backend;
    mem_free(hook->path);
    mem_free(hook);
    backend.closed(&backend);
}

static void hook_close(struct host_backend *backend)
{
    struct hook *hook = container_of(backend, struct hook, backend);
    defer_schedule(hook->loop, &hook->closed);
}

struct host_backend *hook_new(uv_loop_t *loop, const char *path, uint64_t timeout_ms, host_hook_start *start)
{
    static const struct host_backend_ops ops = {hook_run, hook_cancel, hook_close};
    struct hook *hook = mem_alloc(sizeof *hook);
    hook->backend.ops = &ops;
    hook->loop = loop;
    hook->path = mem_strdup(path);
    hook->timeout_ms = timeout_ms;
    hook->start = start ? start : hook_start_here;
    defer_setup(&hook->closed, on_hook_closed);
    return &hook->backend;
}
