/* grid.c - reads peers.json; see grid.h.
 *
 * Place: bench, a leaf. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "ann/base/error.h"
#include "bench/grid.h"

ann_err grid_load(struct grid *g, const char *path)
{
    g->document = NULL;
    return js_load(path, 0, &g->document);
}

void grid_free(struct grid *g)
{
    js_free(g->document);
    g->document = NULL;
}

/* The i-th of the list `key` of a grid. */
static const char *choice(const struct grid *g, const char *grid, const char *key, size_t i)
{
    const struct js *chosen = js_get(js_get(g->document, "grids"), grid);
    return js_string(js_at(js_get(chosen, key), i), NULL);
}

const char *grid_peer(const struct grid *g, const char *grid, size_t i)
{
    return choice(g, grid, "peers", i);
}

const char *grid_spec(const struct grid *g, const char *grid, size_t i)
{
    return choice(g, grid, "specs", i);
}

static const struct js *find_peer(const struct grid *g, const char *peer)
{
    const struct js *list = js_get(g->document, "peers");
    for (size_t i = 0; i < js_count(list); i++)
        if (!strcmp(js_string(js_get(js_at(list, i), "name"), ""), peer))
            return js_at(list, i);
    return NULL;
}

const char *grid_package_of(const struct grid *g, const char *peer)
{
    return js_string(js_get(find_peer(g, peer), "package"), NULL);
}

size_t grid_settings(const struct grid *g, const char *peer, struct grid_setting *out,
                     size_t *width)
{
    const char *name = js_string(js_get(find_peer(g, peer), "ladder"), "");
    const struct js *ladder = js_get(js_get(g->document, "ladders"), name);
    const struct js *first = js_at(ladder, 0), *second = js_at(ladder, 1);
    const size_t inner = second ? js_count(second) : 1;
    size_t n = 0;
    *width = inner;
    for (size_t i = 0; i < js_count(first); i++)
        for (size_t j = 0; j < inner && n < GRID_STEPS_MAX; j++)
            out[n++] = (struct grid_setting){
                {js_number(js_at(first, i), 0), js_number(js_at(second, j), 0)},
                second ? 2 : 1};
    return n;
}

const char *grid_setting_text(const struct grid_setting *s, char *buf, size_t len)
{
    if (s->count == 2)
        snprintf(buf, len, "%g,%g", s->v[0], s->v[1]);
    else
        snprintf(buf, len, "%g", s->v[0]);
    return buf;
}

bool grid_package(const struct grid *g, size_t i, struct grid_package *out)
{
    const struct js *p = js_at(js_get(g->document, "packages"), i);
    out->name = js_string(js_get(p, "name"), NULL);
    out->version = js_string(js_get(p, "version"), NULL);
    out->needed = js_bool(js_get(p, "needed"), false);
    out->compiled = js_bool(js_get(p, "compiled"), false);
    return out->name && out->version;
}

const char *grid_tool(const struct grid *g, size_t i)
{
    return js_string(js_at(js_get(g->document, "tools"), i), NULL);
}
