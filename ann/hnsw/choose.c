/* choose.c - what `auto` takes: degree and bits by dimension, count and metric.
 *
 * Place: hnsw.  The thresholds come from docs/benchmarking.md, "What auto chooses". */
#include <config.h>

#include "ann/hnsw/hnsw.h"

/* Between these, neighbours are many in all directions and a row costs little: m=24 is faster than
 * 16 from a recall of 0.95 on.  Below, 16 is 10 to 30 % faster up to there. */
#define WIDE_DIMS_MIN 64
#define WIDE_DIMS_MAX 200

/* From here on one bit of so many dimensions tells enough: at 384 it is 5 % faster, at 324 up to a
 * quarter slower. */
#define TWO_BIT_DIMS 352

static bool wants_wide_rows(const ann_options *o)
{
    return o->profile == ANN_PROFILE_FAST && o->dim >= WIDE_DIMS_MIN &&
           o->dim < WIDE_DIMS_MAX;
}

/* The largest inner products are hubs that many lead to: more links find more of them. */
uint32_t hnsw_choose_m(const ann_options *o)
{
    if (!wants_wide_rows(o))
        return ANN_M_DEFAULT;
    return o->metric == ANN_IP ? 2 * ANN_M_DEFAULT : 3 * ANN_M_DEFAULT / 2;
}

/* Wide rows of fewer candidates take 0.7 of the time to build, and find as much under l2 and ip;
 * on words compared by angle a recall of 0.99 takes an eighth longer then. */
uint32_t hnsw_choose_ef_construction(const ann_options *o)
{
    return wants_wide_rows(o) && o->metric != ANN_COSINE ? ANN_EF_CONSTRUCTION_DEFAULT / 2
                                                         : ANN_EF_CONSTRUCTION_DEFAULT;
}

enum code_type hnsw_choose_codes(const ann_options *o)
{
    if (o->codes == ANN_CODES_NONE)
        return CODE_NONE;
    return o->codes == ANN_CODES_SQ4 ? CODE_SQ4 : CODE_SQ8;
}

unsigned hnsw_choose_planes(const ann_options *o, uint64_t count)
{
    (void)count;
    if (o->profile != ANN_PROFILE_FAST)
        return 0;
    if (o->codes >= ANN_CODES_1BIT)
        return (unsigned)(o->codes - ANN_CODES_1BIT) + 1;
    return o->dim < TWO_BIT_DIMS ? 2 : 1;
}
