/*
 * The log. Every line says whom it is about: log_info("slot0", "http: ...").
 * Control characters, whatever peer they came from, are escaped as \xNN. To
 * stderr the lines carry journald's <N> priority prefix when stderr is the
 * journal (JOURNAL_STREAM); otherwise a time stamp and the level's name.
 * Secrets are never passed to the log: credentials are kept out of URLs by
 * text_url_public().
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* The values are syslog's. */
enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };

void log_setup(enum log_target target, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

__attribute__((format(printf, 3, 4))) void log_line(enum log_level level, const char *who, const char *format, ...);

#define log_error(who, ...) log_line(LOG_LEVEL_ERROR, who, __VA_ARGS__)
#define log_warning(who, ...) log_line(LOG_LEVEL_WARNING, who, __VA_ARGS__)
#define log_notice(who, ...) log_line(LOG_LEVEL_NOTICE, who, __VA_ARGS__)
#define log_info(who, ...) log_line(LOG_LEVEL_INFO, who, __VA_ARGS__)
#define log_debug(who, ...)                                                                        \
    do {                                                                                           \
        if (log_get_level() >= LOG_LEVEL_DEBUG)                                                    \
            log_line(LOG_LEVEL_DEBUG, who, __VA_ARGS__);                                           \
    } while (0)

#endif
