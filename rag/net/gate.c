/* gate.c - when to try again: what a server asks for, our own pause, and a gate per host.
 *
 * Place: rag/net.  Invariant: no wait is longer than NET_WAIT_MAX, whatever a server says. */
#include <config.h>

#include <curl/curl.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/net/internal.h"

struct gate {
    char *host;
    double until;
};

struct net_gates {
    pthread_mutex_t lock;
    struct gate *list; /* [n] */
    size_t n;
};

double net_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct net_gates *net_gates_open(void)
{
    struct net_gates *g = mem_zalloc(1, sizeof *g);
    if (g)
        pthread_mutex_init(&g->lock, NULL);
    return g;
}

void net_gates_close(struct net_gates *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        mem_free(g->list[i].host);
    mem_free(g->list);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

static struct gate *gate_of(const struct net_gates *g, const char *host)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->list[i].host, host) == 0)
            return &g->list[i];
    return NULL;
}

static struct gate *new_gate(struct net_gates *g, const char *host)
{
    char *copy = mem_strdup(host);
    struct gate *list = copy ? mem_resize(g->list, (g->n + 1) * sizeof *list) : NULL;
    if (!list) {
        mem_free(copy);
        return NULL;
    }
    g->list = list;
    list[g->n] = (struct gate){copy, 0};
    return &list[g->n++];
}

void net_gates_shut(struct net_gates *g, const char *host, double until)
{
    pthread_mutex_lock(&g->lock);
    struct gate *gate = gate_of(g, host);
    if (!gate)
        gate = new_gate(g, host);
    if (gate && until > gate->until)
        gate->until = until;
    pthread_mutex_unlock(&g->lock);
}

double net_gates_until(struct net_gates *g, const char *host)
{
    pthread_mutex_lock(&g->lock);
    const struct gate *gate = gate_of(g, host);
    const double until = gate ? gate->until : 0;
    pthread_mutex_unlock(&g->lock);
    return until;
}

/* A number of at least 0 and nothing but it. */
static bool number(const char *s, double *out)
{
    char *end;
    if (*s < '0' || *s > '9')
        return false;
    *out = strtod(s, &end);
    return *end == '\0' && isfinite(*out);
}

double net_retry_after(const char *after_ms, const char *after, time_t now)
{
    double seconds;
    if (after_ms && number(after_ms, &seconds))
        return seconds / 1000;
    if (after && number(after, &seconds))
        return seconds;
    const time_t date = after ? curl_getdate(after, NULL) : -1;
    if (date == -1)
        return -1;
    return date > now ? (double)(date - now) : 0;
}

double net_backoff(unsigned n, double dice)
{
    const double pause = n > 4 ? 8 : 0.5 * (double)(1u << (n - 1));
    return pause * (1 - dice / 4);
}
