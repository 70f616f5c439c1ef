/* choose.c - what `auto` takes: degree and bits by dimension, count and metric.
 *
 * Place: hnsw.  The thresholds come from docs/benchmarking.md, "What auto chooses". */
#include <config.h>

#include "ann/hnsw/hnsw.h"

uint32_t hnsw_choose_m(const ann_options *o)
{
    if (o->profile == ANN_PROFILE_FAST && o->dim < 200)
        return 2 * ANN_M_DEFAULT;
    return ANN_M_DEFAULT;
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
    return o->dim < 256 ? 2 : 1;
}
