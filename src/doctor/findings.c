#include "doctor/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "base/text.h"

#define TEXT_MAX 1024

static const char *const results[] = {"ok", "note", "warning", "error"};

void findings_init(struct findings *findings, bool json)
{
    *findings = (struct findings){.json = json, .list = json_array()};
}

static void findings_keep(struct findings *findings, enum finding result, const char *topic, const char *text, const char *advice)
{
    json_array_append_new(findings->list, json_pack("{s:o, s:s, s:o, s:o}", "topic", api_text(topic), "result", results[result],
                                                    "text", api_text(text), "advice", advice ? api_text(advice) : json_null()));
    findings->doubts += result == FINDING_DOUBT;
    findings->bad += result == FINDING_BAD;
    if (findings->json)
        return;
    printf("%-8s %s: %s\n", results[result], topic, text);
    if (advice)
        printf("         -> %s\n", advice);
    fflush(stdout);
}

void findings_say(struct findings *findings, enum finding result, const char *topic, const char *advice, const char *format, ...)
{
    char raw[TEXT_MAX], text[TEXT_MAX + 64];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    text_escape(raw, text, sizeof text); /* it may quote what a server sent */
    findings_keep(findings, result, topic, text, advice);
}

void findings_fail(struct findings *findings, enum finding result, const char *topic, const char *error)
{
    char text[TEXT_MAX + 64];
    text_escape(error, text, sizeof text);
    size_t length = strlen(text);
    char *advice = length && text[length - 1] == ')' ? strrchr(text, '(') : NULL;
    if (advice && advice > text && advice[-1] == ' ') {
        text[length - 1] = advice[-1] = '\0';
        advice++;
    } else {
        advice = NULL;
    }
    findings_keep(findings, result, topic, text, advice);
}

static void show_report(json_t *report)
{
    const char *name;
    json_t *value;
    puts("\nFor a bug report:\n");
    json_object_foreach(report, name, value)
        printf("%s: %s%s\n", name, strchr(json_string_value(value), '\n') ? "\n" : "", json_string_value(value));
}

void findings_end(struct findings *findings, json_t *report)
{
    if (findings->json) {
        json_t *all = json_pack("{s:b, s:i, s:i, s:O, s:O}", "healthy", findings->bad == 0, "errors", (int)findings->bad, "warnings",
                                (int)findings->doubts, "findings", findings->list, "report", report);
        char *text = json_dumps(all, JSON_INDENT(2));
        puts(text);
        mem_free(text);
        json_decref(all);
    } else {
        show_report(report);
        printf("\n%u error%s, %u warning%s\n", findings->bad, findings->bad == 1 ? "" : "s", findings->doubts,
               findings->doubts == 1 ? "" : "s");
    }
    json_decref(report);
    json_decref(findings->list);
}
