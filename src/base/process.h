/* What the kernel says of this process. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdint.h>

struct process_facts {
    double cpu_seconds;       /* of all threads, user and system */
    double start_seconds;     /* since 1970 */
    uint64_t resident, virtual; /* bytes */
    unsigned descriptors;     /* open */
    uint64_t descriptors_max;
};

/* What can't be known is 0. Reads from /proc: that is memory of the kernel's, and does not wait. */
void process_look(struct process_facts *facts);

#endif
