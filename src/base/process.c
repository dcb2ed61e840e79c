#include "base/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void look_memory(struct process_facts *facts)
{
    unsigned long long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return;
    if (fscanf(file, "%llu %llu", &pages, &resident) == 2) {
        facts->virtual = pages * (uint64_t)sysconf(_SC_PAGESIZE);
        facts->resident = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    fclose(file);
}

static double wall_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* proc_pid_stat(5): the 22nd word, in ticks since boot; the second one, in parentheses, may have any bytes. */
static void look_start(struct process_facts *facts)
{
    char line[1024];
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return;
    size_t got = fread(line, 1, sizeof line - 1, file);
    line[got] = '\0';
    const char *rest = strrchr(line, ')');
    if (rest && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) == 1)
        facts->start_seconds =
            wall_seconds(CLOCK_REALTIME) - wall_seconds(CLOCK_BOOTTIME) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
    fclose(file);
}

static void look_descriptors(struct process_facts *facts)
{
    struct rlimit limit;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        facts->descriptors++;
    if (folder)
        closedir(folder);
    facts->descriptors -= facts->descriptors < 3 ? facts->descriptors : 3; /* ".", "..", and the folder's own */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        facts->descriptors_max = limit.rlim_cur;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void process_look(struct process_facts *facts)
{
    struct rusage usage;
    *facts = (struct process_facts){0};
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        facts->cpu_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    look_memory(facts);
    look_start(facts);
    look_descriptors(facts);
}
