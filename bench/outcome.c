/* outcome.c - the list of what was measured; see outcome.h.
 *
 * Place: bench. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "bench/outcome.h"

void outcome_interpolate(struct outcome *o)
{
    struct metrics_pair pairs[OUTCOME_POINTS_MAX];
    for (size_t i = 0; i < o->npoints; i++)
        pairs[i] = (struct metrics_pair){o->points[i].recall, o->points[i].qps};
    for (size_t t = 0; t < o->ntargets; t++)
        o->at[t] = metrics_interpolate(pairs, o->npoints, o->targets[t]);
}

double outcome_add_s(const struct outcome *o)
{
    return o->build_s - o->train_s;
}

double outcome_add_cpu_s(const struct outcome *o)
{
    return o->build_cpu_s - o->train_cpu_s;
}

double outcome_vector_bytes(const struct outcome *o)
{
    return o->memory_bytes >= 0 && o->n ? o->memory_bytes / (double)o->n : NAN;
}

struct outcome *outcomes_add(struct outcomes *all)
{
    if (all->count == all->capacity) {
        const size_t more = all->capacity ? 2 * all->capacity : 8;
        struct outcome *items = mem_resize(all->items, more * sizeof *items);
        if (!items)
            return NULL;
        all->items = items;
        all->capacity = more;
    }
    struct outcome *o = &all->items[all->count++];
    memset(o, 0, sizeof *o);
    return o;
}

ann_err outcomes_keep(struct outcomes *all, const struct outcome *o)
{
    struct outcome *place = outcomes_add(all);
    if (!place)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
    *place = *o;
    return ANN_OK;
}

void outcomes_free(struct outcomes *all)
{
    mem_free(all->items);
    memset(all, 0, sizeof *all);
}

bool outcomes_starts_group(const struct outcomes *all, size_t i)
{
    return !i || strcmp(all->items[i].dataset, all->items[i - 1].dataset) != 0;
}

size_t outcomes_group_end(const struct outcomes *all, size_t i)
{
    for (i++; i < all->count && !outcomes_starts_group(all, i); i++)
        ;
    return i;
}
