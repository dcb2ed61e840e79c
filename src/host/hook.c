#include "host/hook.h"

#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"

#define WHO        "host"
#define WORDS_MAX  128 /* of a request */
#define CHUNK      1024
#define PARAMETERS 3

struct hook {
    struct host_backend backend;
    uv_loop_t *loop;
    char *path;
    uint64_t timeout_ms;
    struct hook_run *run; /* NULL: nothing runs */
    struct defer closed;
};

/* One of the two pipes from the process. */
struct hook_pipe {
    uv_pipe_t pipe;
    int fd; /* ours, until the pipe has it; the process's end is `other` */
    int other;
    bool ended;
    char chunk[CHUNK];
};

/* A process, from before its start until all is closed. */
struct hook_run {
    struct hook *hook;
    uv_process_t process;
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
    bool spawned; /* the handle of the process is in use */
    bool exited;
    int64_t code;     /* its exit code */
    int killed_by;    /* a signal; 0 */
    unsigned signals; /* sent to end it */
    bool closing;
    int status; /* why it is ended before its time; 0 */
    char error[HOST_ERROR_MAX];
    struct closing handles;
};

/* --- the end --- */

static void on_run_closed(struct closing *closing)
{
    struct hook_run *run = container_of(closing, struct hook_run, handles);
    struct hook *hook = run->hook;
    struct host_state state;
    memset(&state, 0, sizeof state);
    if (run->status == 0 && run->verb == HOST_GET && !hook_answer_parse(run->answer, &state, run->error))
        run->status = -EPROTO;
    hook->run = NULL;
    hook->backend.done(&hook->backend, run->status, run->error, &state);
    mem_free(run);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

__attribute__((format(printf, 3, 4))) static void fail(struct hook_run *run, int status, const char *format, ...)
{
    va_list args;
    if (run->status != 0)
        return; /* the first counts */
    run->status = status;
    va_start(args, format);
    vsnprintf(run->error, sizeof run->error, format, args);
    va_end(args);
}

static int status_of(int64_t code)
{
    return code == HOOK_NOT_SUPPORTED ? -ENOTSUP : code == HOOK_NOT_NOW ? -EAGAIN : -EIO;
}

static void judge(struct hook_run *run)
{
    const char *said = *run->last_line ? ": " : "";
    if (run->killed_by != 0)
        fail(run, -EIO, "the hook's \"%s\" was killed by signal %d%s%s", run->words, run->killed_by, said,
             run->last_line);
    else if (run->code != 0)
        fail(run, status_of(run->code), "the hook's \"%s\" ended with %d%s%s", run->words, (int)run->code, said,
             run->last_line);
}

static void finish(struct hook_run *run)
{
    if (run->closing)
        return;
    run->closing = true;
    judge(run);
    close_fd(&run->out.fd);
    close_fd(&run->err.fd);
    closing_begin(&run->handles, run->hook->loop, on_run_closed);
    if (run->spawned)
        closing_add(&run->handles, (uv_handle_t *)&run->process);
    closing_add(&run->handles, (uv_handle_t *)&run->timer);
    closing_add(&run->handles, (uv_handle_t *)&run->out.pipe);
    closing_add(&run->handles, (uv_handle_t *)&run->err.pipe);
    closing_end(&run->handles);
}

static void signal_group(struct hook_run *run, int number)
{
    if (run->process.pid > 0)
        kill(-run->process.pid, number);
}

static void on_patience_ended(uv_timer_t *timer);

/* SIGTERM, so that a script can let go of a button; then SIGKILL; then it is given up. */
static void end_process(struct hook_run *run)
{
    if (run->exited) {
        finish(run);
    } else if (run->signals < 2) {
        signal_group(run, run->signals++ == 0 ? SIGTERM : SIGKILL);
        uv_timer_start(&run->timer, on_patience_ended, HOOK_KILL_MS, 0);
    } else {
        log_error(WHO, "the hook's process %d does not die; it is left alone", run->process.pid);
        finish(run);
    }
}

static void on_patience_ended(uv_timer_t *timer)
{
    end_process(container_of(timer, struct hook_run, timer));
}

static void on_timeout(uv_timer_t *timer)
{
    struct hook_run *run = container_of(timer, struct hook_run, timer);
    char limit[TEXT_SIZE_MAX];
    text_duration(run->hook->timeout_ms, limit);
    fail(run, -ETIMEDOUT, "the hook's \"%s\" was ended since it took longer than %s (host-timeout)", run->words, limit);
    end_process(run);
}

static void on_drained(uv_timer_t *timer)
{
    finish(container_of(timer, struct hook_run, timer));
}

/* The process has ended: all that it wrote is in the pipes, and they end unless others hold them. */
static void finish_when_read(struct hook_run *run)
{
    if (!run->exited)
        return;
    if ((run->out.ended && run->err.ended) || run->status != 0)
        finish(run);
    else if (!run->closing)
        uv_timer_start(&run->timer, on_drained, HOOK_DRAIN_MS, 0);
}

/* --- stderr: lines for the log --- */

static void log_stderr(struct hook_run *run)
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
            log_stderr(run);
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

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
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
        log_stderr(run);
        end_pipe(run, &run->err);
    }
}

static void on_process_exit(uv_process_t *process, int64_t code, int number)
{
    struct hook_run *run = container_of(process, struct hook_run, process);
    run->exited = true;
    run->code = code;
    run->killed_by = number;
    if (run->signals > 0)
        signal_group(run, SIGKILL); /* what it started goes with it */
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

static int spawn(struct hook_run *run, const struct host_request *request)
{
    static char *environment[] = {"PATH=" HOOK_PATH, "LC_ALL=C", NULL};
    struct hook *hook = run->hook;
    char words[WORDS_MAX], *rest;
    char *arguments[PARAMETERS + 3] = {hook->path};
    unsigned count = 1;
    host_request_text(request, words, sizeof words);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        arguments[count++] = word;
    uv_stdio_container_t stdio[] = {{.flags = UV_IGNORE},
                                    {.flags = UV_INHERIT_FD, .data.fd = run->out.other},
                                    {.flags = UV_INHERIT_FD, .data.fd = run->err.other}};
    uv_process_options_t options = {
        .exit_cb = on_process_exit,
        .file = hook->path,
        .args = arguments,
        .env = environment,
        .cwd = "/",
        .flags = UV_PROCESS_DETACHED, /* a group of its own, to be ended with all that it starts */
        .stdio_count = 3,
        .stdio = stdio,
    };
    /* Libraries open sockets, and who started us may have left some, that a process would inherit. */
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    return uv_spawn(hook->loop, &run->process, &options);
}

static void start(struct hook_run *run, const struct host_request *request)
{
    struct hook *hook = run->hook;
    int out = open_pipe(hook->loop, &run->out), err = open_pipe(hook->loop, &run->err);
    uv_timer_init(hook->loop, &run->timer);
    int status = out != 0 ? out : err;
    run->spawned = status == 0; /* the handle has to be closed then, also when that fails */
    if (run->spawned)
        status = spawn(run, request);
    close_fd(&run->out.other);
    close_fd(&run->err.other);
    if (status != 0) {
        fail(run, -EIO, "the hook %.200s can't be started: %s", hook->path, uv_strerror(status));
        finish(run);
        return;
    }
    uv_read_start((uv_stream_t *)&run->out.pipe, on_alloc, on_stdout);
    uv_read_start((uv_stream_t *)&run->err.pipe, on_alloc, on_stderr);
    uv_timer_start(&run->timer, on_timeout, hook->timeout_ms, 0);
}

static void hook_run(struct host_backend *backend, const struct host_request *request)
{
    struct hook *hook = container_of(backend, struct hook, backend);
    struct hook_run *run = mem_alloc(sizeof *run);
    run->hook = hook;
    run->verb = request->verb;
    host_request_text(request, run->words, sizeof run->words);
    hook->run = run;
    start(run, request);
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

static void on_closed(struct defer *defer)
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

struct host_backend *hook_new(uv_loop_t *loop, const char *path, uint64_t timeout_ms)
{
    static const struct host_backend_ops ops = {hook_run, hook_cancel, hook_close};
    struct hook *hook = mem_alloc(sizeof *hook);
    hook->backend.ops = &ops;
    hook->loop = loop;
    hook->path = mem_strdup(path);
    hook->timeout_ms = timeout_ms;
    defer_setup(&hook->closed, on_closed);
    return &hook->backend;
}
