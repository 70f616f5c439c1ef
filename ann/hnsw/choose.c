/* choose.c - what `auto` takes: degree and bits by dimension, metric and a look at the vectors.
 *
 * Place: hnsw.  The thresholds come from docs/benchmarking.md, "What auto chooses". */
#include <config.h>

#include "ann/hnsw/hnsw.h"

#define M_WIDE   (3 * ANN_M_DEFAULT / 2)
#define M_WIDEST (2 * ANN_M_DEFAULT)

/* Below, wider rows than 16 gained nothing, hubs or not. */
#define WIDE_DIMS_MIN 64

/* Unseen vectors of fewer dimensions than this get wide rows: too few links cost up to a third
 * of the queries a second, too many an eighth. */
#define WIDE_DIMS_UNSEEN 200

/* Of sets with fewer hubs (0.00 to 0.16 were seen) m=16 is 5 to 17 % faster than 24, of sets
 * with more (0.22 to 0.6) up to 50 % slower. */
#define MANY_HUBS 0.2

/* So many vectors of few dimensions want wide rows without hubs: 837,618 descriptors of images
 * are found an eighth faster then at a recall of 0.99, as fast at 0.9; 100,000 a tenth slower.
 */
#define MANY_VECTORS 500000

/* Hubs, and the tenth nearest this far, or more hubs than others in vectors where a row costs
 * enough: 32 links are 5 to 27 % faster than 24. */
#define FAR_TENTH       0.7
#define MOST_HUBS       0.5
#define MOST_HUBS_DIMS  96

/* Under ip the longest vectors are what many queries look for: more links find more of them.
 * Embeddings of one length have 0; words of a skip-gram model 0.3. */
#define LENGTHS_DIFFER 0.1

/* From here on one bit of so many dimensions tells enough: at 384 it is 5 % faster, at 324 up to
 * a quarter slower. */
#define TWO_BIT_DIMS 352

bool hnsw_looks_for_m(const ann_options *o)
{
    return o->kind == ANN_HNSW && o->profile == ANN_PROFILE_FAST && o->dim >= WIDE_DIMS_MIN;
}

uint32_t hnsw_choose_m(const ann_options *o, const struct hnsw_look *look)
{
    if (!hnsw_looks_for_m(o))
        return ANN_M_DEFAULT;
    const bool narrow = o->dim >= WIDE_DIMS_UNSEEN;
    if (!look)
        return narrow ? ANN_M_DEFAULT : o->metric == ANN_IP ? M_WIDEST : M_WIDE;
    if (look->lengths > LENGTHS_DIFFER)
        return M_WIDEST;
    if (look->hubs < MANY_HUBS)
        return narrow || look->count < MANY_VECTORS ? ANN_M_DEFAULT : M_WIDE;
    const bool most = look->hubs > MOST_HUBS && o->dim >= MOST_HUBS_DIMS;
    return most || look->tenth > FAR_TENTH ? M_WIDEST : M_WIDE;
}

/* Wide rows of fewer candidates take 0.7 of the time to build, and find as much under l2 and ip;
 * on words compared by angle a recall of 0.99 takes an eighth longer then. */
uint32_t hnsw_choose_ef_construction(const ann_options *o, uint32_t m)
{
    return hnsw_looks_for_m(o) && m > ANN_M_DEFAULT && o->metric != ANN_COSINE
               ? ANN_EF_CONSTRUCTION_DEFAULT / 2
               : ANN_EF_CONSTRUCTION_DEFAULT;
}

enum code_type hnsw_choose_codes(const ann_options *o)
{
    if (o->codes == ANN_CODES_NONE)
        return CODE_NONE;
    return o->codes == ANN_CODES_SQ4 ? CODE_SQ4 : CODE_SQ8;
}

unsigned hnsw_choose_planes(const ann_options *o)
{
    if (o->profile != ANN_PROFILE_FAST)
        return 0;
    if (o->codes >= ANN_CODES_1BIT)
        return (unsigned)(o->codes - ANN_CODES_1BIT) + 1;
    return o->dim < TWO_BIT_DIMS ? 2 : 1;
}
