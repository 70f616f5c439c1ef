/* pool.c - the thread pool, and how many threads this process should use.  See pool.h. */
#include <config.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/base/pool.h"

#define THREADS_MAX 1024

struct pool {
    unsigned threads;
    pthread_t *handles; /* [threads - 1] */
    pthread_mutex_t turn; /* held by the caller whose loop runs */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake, idle;
    uint64_t round;    /* the loop that workers should be in */
    unsigned busy;     /* workers that have not left it */
    unsigned started;  /* hands out worker numbers */
    bool closing;
    /* the loop */
    pool_body body;
    void *arg;
    size_t n, grain;
    atomic_size_t next;
};

static void run_items(struct pool *p, unsigned worker)
{
    for (;;) {
        const size_t begin = atomic_fetch_add(&p->next, p->grain);
        if (begin >= p->n)
            return;
        const size_t end = p->n - begin < p->grain ? p->n : begin + p->grain;
        for (size_t i = begin; i < end; i++)
            p->body(p->arg, i, worker);
    }
}

static void *worker_main(void *arg)
{
    struct pool *p = arg;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    const unsigned worker = ++p->started;
    for (;;) {
        while (p->round == seen && !p->closing)
            pthread_cond_wait(&p->wake, &p->lock);
        if (p->closing)
            break;
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        run_items(p, worker);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i + 1 < p->threads; i++)
        pthread_join(p->handles[i], NULL);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->turn);
    mem_free(p->handles);
    mem_free(p);
}

ann_err pool_create(unsigned threads, struct pool **out)
{
    if (threads < 1 || threads > THREADS_MAX)
        return ANN_FAIL(ANN_EINVAL, "%u threads: must be 1..%d", threads, THREADS_MAX);
    struct pool *p = mem_zalloc(1, sizeof *p);
    if (p)
        p->handles = mem_zalloc(threads, sizeof *p->handles);
    if (!p || !p->handles) {
        mem_free(p);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u threads", threads);
    }
    pthread_mutexattr_t again; /* pool_for within pool_hold takes its turn twice */
    pthread_mutexattr_init(&again);
    pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&p->turn, &again);
    pthread_mutexattr_destroy(&again);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->idle, NULL);
    p->threads = 1;
    for (; p->threads < threads; p->threads++)
        if (pthread_create(&p->handles[p->threads - 1], NULL, worker_main, p) != 0) {
            const unsigned got = p->threads;
            pool_close(p);
            return ANN_FAIL(ANN_ENOMEM, "the system gave %u of %u threads", got, threads);
        }
    *out = p;
    return ANN_OK;
}

unsigned pool_threads(const struct pool *p)
{
    return p->threads;
}

void pool_hold(struct pool *p)
{
    pthread_mutex_lock(&p->turn);
}

void pool_release(struct pool *p)
{
    pthread_mutex_unlock(&p->turn);
}

void pool_for(struct pool *p, size_t n, size_t grain, pool_body body, void *arg)
{
    if (grain == 0)
        grain = 1;
    pthread_mutex_lock(&p->turn);
    p->body = body;
    p->arg = arg;
    p->n = n;
    p->grain = grain;
    atomic_store(&p->next, 0);
    const bool alone = p->threads == 1 || n <= grain;
    if (!alone) {
        pthread_mutex_lock(&p->lock);
        p->busy = p->threads - 1;
        p->round++;
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
    run_items(p, 0);
    if (!alone) {
        pthread_mutex_lock(&p->lock);
        while (p->busy > 0)
            pthread_cond_wait(&p->idle, &p->lock);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&p->turn);
}

/* Processors worth of time this control group may use, or 0 for no limit. */
static unsigned quota(void)
{
    long long limit = 0, period = 0;
    FILE *f =
        fopen("/sys/fs/cgroup/cpu.max", "re"); /* version 2: "max 100000" or "150000 100000" */
    if (f) {
        if (fscanf(f, "%lld %lld", &limit, &period) != 2)
            limit = 0;
        fclose(f);
    } else {
        f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re");
        if (!f || fscanf(f, "%lld", &limit) != 1)
            limit = 0;
        if (f)
            fclose(f);
        f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
        if (!f || fscanf(f, "%lld", &period) != 1)
            period = 0;
        if (f)
            fclose(f);
    }
    if (limit <= 0 || period <= 0)
        return 0;
    return (unsigned)((limit + period - 1) / period);
}

unsigned pool_default_threads(void)
{
    const char *text = getenv("KITH_THREADS");
    if (text && *text) {
        char *end;
        const unsigned long n = strtoul(text, &end, 10);
        if (*end == '\0' && n >= 1 && n <= THREADS_MAX)
            return (unsigned)n;
    }
    unsigned n = 1;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        n = (unsigned)CPU_COUNT(&set);
    } else {
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (unsigned)online : 1;
    }
    const unsigned most = quota();
    if (most > 0 && most < n)
        n = most;
    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
}
