#include "remote/http/post.h"

#include <build-config.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/text.h"
#include "net/ciphers.h"
#include "remote/http/curl_pool.h"
#include "remote/http/guard.h"

struct http_poster {
    struct curl_loop *curl;
    struct curl_pool *pool;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct http_post {
    struct curl_transfer transfer;
    struct http_guard guard;
    struct curl_slist *headers;
    char curl_error[CURL_ERROR_SIZE];
    size_t answered;
    http_posted *done;
    void *arg;
};

static void post_free(struct http_post *post)
{
    curl_easy_cleanup(post->transfer.easy);
    curl_slist_free_all(post->headers);
    mem_free(post);
}

/* --- its end --- */

static void post_judge(struct http_post *post, CURLcode code, char error[HTTP_POST_ERROR_MAX])
{
    const char *refusal = http_guard_refusal(&post->guard, code);
    long status = 0;
    curl_easy_getinfo(post->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    *error = '\0';
    if (refusal)
        snprintf(error, HTTP_POST_ERROR_MAX, "%s", refusal);
    else if (code == CURLE_WRITE_ERROR)
        snprintf(error, HTTP_POST_ERROR_MAX, "the answer is too long");
    else if (code != CURLE_OK)
        snprintf(error, HTTP_POST_ERROR_MAX, "%.200s", *post->curl_error ? post->curl_error : curl_easy_strerror(code));
    else if (status >= 300 && status < 400)
        snprintf(error, HTTP_POST_ERROR_MAX, "the answer is %ld, a redirect, which is not followed", status);
    else if (status < 200 || status > 299)
        snprintf(error, HTTP_POST_ERROR_MAX, "the answer is %ld", status);
}

static void on_posted(struct curl_transfer *transfer, CURLcode code)
{
    struct http_post *post = container_of(transfer, struct http_post, transfer);
    http_posted *done = post->done;
    void *arg = post->arg;
    char error[HTTP_POST_ERROR_MAX];
    post_judge(post, code, error);
    post_free(post);
    done(arg, error);
}

void http_post_cancel(struct http_post *post)
{
    curl_pool_cancel(&post->transfer);
    post_free(post);
}

/* --- its beginning --- */

static size_t on_post_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_post *post = arg;
    (void)data;
    post->answered += size * count;
    return post->answered <= HTTP_POST_ANSWER_MAX ? size * count : 0;
}

static bool post_opening(struct http_guard *guard)
{
    (void)guard;
    return true;
}

static void post_asking(struct http_guard *guard)
{
    (void)guard;
}

static void post_add(struct http_post *post, const char *field)
{
    struct curl_slist *list = curl_slist_append(post->headers, field);
    if (!list)
        mem_exhausted();
    post->headers = list;
}

static void post_set_fields(struct http_post *post, const struct http_post_options *options)
{
    char type[128];
    snprintf(type, sizeof type, "Content-Type: %s", options->type);
    post_add(post, type);
    post_add(post, "Expect:"); /* libcurl would wait for a 100 before a longer body */
    for (const char *const *field = options->fields; field && *field; field++)
        post_add(post, *field);
    curl_easy_setopt(post->transfer.easy, CURLOPT_HTTPHEADER, post->headers);
    curl_easy_setopt(post->transfer.easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(options->body));
    curl_easy_setopt(post->transfer.easy, CURLOPT_COPYPOSTFIELDS, options->body);
}

static void post_set_tls(CURL *easy, const struct http_post_options *options)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_TLS13_CIPHERS, ciphers_tls13());
    curl_easy_setopt(easy, CURLOPT_SSL_CIPHER_LIST, ciphers_tls12_client());
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options->verify ? 2L : 0L);
    if (options->verify)
        http_guard_names(easy);
    if (*options->ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
}

static void post_set(struct http_post *post, struct http_poster *poster, const struct http_post_options *options)
{
    CURL *easy = post->transfer.easy;
    curl_easy_setopt(easy, CURLOPT_URL, options->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, options->allow_plain ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SHARE, curl_loop_share(poster->curl));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, post->curl_error);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "nbd-proxy/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* none from the environment */
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_post_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, post);
    post->guard = (struct http_guard){.local = options->local,
                                      .curl = poster->curl,
                                      .fd = -1,
                                      .given = -1,
                                      .opening = post_opening,
                                      .asking = post_asking};
    http_guard_addresses(&post->guard, easy);
    post_set_tls(easy, options);
}

struct http_post *http_post_start(struct http_poster *poster, const struct http_post_options *options, http_posted *done,
                                  void *arg)
{
    struct http_post *post = mem_alloc(sizeof *post);
    post->done = done;
    post->arg = arg;
    post->transfer.done = on_posted;
    post->transfer.easy = curl_easy_init();
    if (!post->transfer.easy)
        mem_exhausted();
    post_set(post, poster, options);
    post_set_fields(post, options);
    if (curl_pool_start(poster->pool, &post->transfer) == 0)
        return post;
    post_free(post);
    return NULL;
}

/* --- the poster --- */

struct http_poster *http_poster_new(uv_loop_t *loop)
{
    struct http_poster *poster = mem_alloc(sizeof *poster);
    poster->curl = curl_loop_new(loop);
    poster->pool = curl_pool_new(loop);
    return poster;
}

static void on_poster_closed(void *arg)
{
    struct http_poster *poster = arg;
    void (*closed)(void *arg) = poster->closed;
    void *closed_arg = poster->closed_arg;
    mem_free(poster);
    closed(closed_arg);
}

void http_poster_close(struct http_poster *poster, void (*closed)(void *arg), void *arg)
{
    poster->closed = closed;
    poster->closed_arg = arg;
    curl_pool_free(poster->pool);
    curl_loop_close(poster->curl, on_poster_closed, poster);
}
