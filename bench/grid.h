/* grid.h - peers.json: which libraries, in which versions, built and searched with what.
 *
 * Place: bench, a leaf.  Invariant: what is fixed about the peers stands in that file and
 * nowhere else. */
#ifndef KITH_BENCH_GRID_H
#define KITH_BENCH_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "ann/io/json.h"

#define GRID_STEPS_MAX 128
#define GRID_PEERS_MAX 32

struct grid {
    struct js *document;
};

/* Search parameters of one point: an ef, or two numbers that go together. */
struct grid_setting {
    double v[2];
    size_t count;
};

/* path: peers.json.  Released with grid_free. */
ann_err grid_load(struct grid *g, const char *path);
void grid_free(struct grid *g);

/* A grid is a choice of peers, and of specs of kith that meet them where none is given:
 * "graphs", "flat", "ivf" and so on.  The i-th of either, NULL behind the last. */
const char *grid_peer(const struct grid *g, const char *grid, size_t i);
const char *grid_spec(const struct grid *g, const char *grid, size_t i);
const char *grid_package_of(const struct grid *g, const char *peer); /* NULL: no such peer */

/* Settings of a peer's search from fast to thorough, out [GRID_STEPS_MAX]: each of the first
 * numbers with each of the second ones, of which there are *width.  None for an exact index. */
size_t grid_settings(const struct grid *g, const char *peer, struct grid_setting *out,
                     size_t *width);

/* "96,25". */
const char *grid_setting_text(const struct grid_setting *s, char *buf, size_t len);

/* A package of the environment, as pip is asked for it. */
struct grid_package {
    const char *name, *version;
    bool needed;   /* no run without it */
    bool compiled; /* comes as source */
};

/* The i-th package; false behind the last. */
bool grid_package(const struct grid *g, size_t i, struct grid_package *out);
const char *grid_tool(const struct grid *g,
                      size_t i); /* "name==version"; NULL behind the last */

#endif
