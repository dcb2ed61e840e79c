#include "remote/parallel.h"

void parallel_init(struct parallel *parallel, unsigned most)
{
    *parallel = (struct parallel){.most = most, .limit = most, .raise_ms = PARALLEL_RAISE_MS};
}

/* A burst of refusals counts as one: only the first after a raise makes the pause longer. */
bool parallel_refused(struct parallel *parallel, unsigned others, uint64_t now_ms)
{
    if (others == 0)
        return false;
    if (parallel->before == 0)
        parallel->before = parallel->limit;
    if (others < parallel->limit)
        parallel->limit = others;
    if (parallel->raised && parallel->raise_ms < PARALLEL_RAISE_MAX_MS)
        parallel->raise_ms *= 2;
    parallel->raised = false;
    parallel->raise_at = now_ms + parallel->raise_ms;
    return true;
}

void parallel_succeeded(struct parallel *parallel, uint64_t now_ms)
{
    parallel->before = 0;
    if (parallel->limit == parallel->most || now_ms < parallel->raise_at)
        return;
    if (parallel->raised && parallel->raise_ms > PARALLEL_RAISE_MS)
        parallel->raise_ms /= 2; /* the last raise was borne */
    parallel->limit++;
    parallel->raised = true;
    parallel->raise_at = now_ms + parallel->raise_ms;
}

void parallel_down(struct parallel *parallel)
{
    if (parallel->before > 0)
        parallel->limit = parallel->before;
    parallel->before = 0;
}
