/* The page's files, in memory. See api/web/handlers.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/web/handlers.h"
#include "base/log.h"
#include "base/text.h"
#include "http/content.h"

#define WHO            "web"
#define PAGES_MAX      64
#define PAGE_SIZE_MAX  (256u << 10)
#define PAGES_SIZE_MAX (1u << 20) /* all together */

struct page {
    char name[64];
    struct http_content content;
};

struct pages {
    unsigned count;
    size_t size;
    struct page pages[PAGES_MAX];
};

static const char *type_of(const char *name)
{
    static const struct {
        const char *end, *type;
    } types[] = {{".html", "text/html; charset=utf-8"},
                 {".js", "text/javascript; charset=utf-8"},
                 {".css", "text/css; charset=utf-8"},
                 {".svg", "image/svg+xml"}};
    const char *end = strrchr(name, '.');
    for (size_t i = 0; end && i < sizeof types / sizeof *types; i++)
        if (strcmp(end, types[i].end) == 0)
            return types[i].type;
    return NULL;
}

static void add_page(struct pages *pages, int folder, const char *name)
{
    struct stat st;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || strlen(name) >= sizeof pages->pages->name ||
        pages->count == PAGES_MAX || st.st_size > PAGE_SIZE_MAX || pages->size + (size_t)st.st_size > PAGES_SIZE_MAX) {
        log_warning(WHO, "the page's file %s is left out: it can't be read, or is too much", name);
        if (fd >= 0)
            close(fd);
        return;
    }
    char *text = mem_alloc((size_t)st.st_size + 1);
    ssize_t got = read(fd, text, (size_t)st.st_size);
    close(fd);
    if (got == st.st_size) {
        struct page *page = &pages->pages[pages->count++];
        memcpy(page->name, name, strlen(name) + 1);
        http_content_init(&page->content, type_of(name), "no-cache", text, (size_t)got);
        pages->size += (size_t)got;
    }
    mem_free(text);
}

struct pages *pages_new(const char *directory)
{
    struct pages *pages = mem_alloc(sizeof *pages);
    DIR *folder = opendir(directory);
    if (!folder) {
        log_warning(WHO, "there is no page: %s: %s (see web-directory)", directory, strerror(errno));
        return pages;
    }
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        if (*entry->d_name != '.' && type_of(entry->d_name))
            add_page(pages, dirfd(folder), entry->d_name);
    closedir(folder);
    return pages;
}

void pages_free(struct pages *pages)
{
    for (unsigned i = 0; i < pages->count; i++)
        http_content_clear(&pages->pages[i].content);
    mem_free(pages);
}

static void add_security(struct http_request *request)
{
    http_add_field(request, "Content-Security-Policy",
                   "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'");
    http_add_field(request, "X-Content-Type-Options", "nosniff");
    http_add_field(request, "Referrer-Policy", "no-referrer");
    http_add_field(request, "Cross-Origin-Opener-Policy", "same-origin");
    if (request->tls)
        http_add_field(request, "Strict-Transport-Security", "max-age=31536000");
}

void pages_handle(const struct pages *pages, struct http_request *request)
{
    const char *name = strcmp(request->path, "/") == 0 ? "index.html" : request->path + 1;
    add_security(request);
    for (unsigned i = 0; i < pages->count; i++)
        if (strcmp(pages->pages[i].name, name) == 0) {
            http_content_serve(request, &pages->pages[i].content);
            return;
        }
    static const char words[] = "There is no such page.\n";
    http_reply(request, 404, "text/plain; charset=utf-8", words, sizeof words - 1);
}
