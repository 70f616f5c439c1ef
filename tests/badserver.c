/* badserver.c - see badserver.h.  Plain sockets: a library would mend what is to be broken. */
#include <config.h>

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/badserver.h"

#define CONNECTIONS 64
#define REQUEST_MAX ((size_t)1 << 22)

struct badserver {
    const struct bad_answer *answers;
    size_t n;
    int listener;
    unsigned port;
    pthread_t thread, connections[CONNECTIONS];
    size_t nconnections;
    pthread_mutex_t lock;
    unsigned requests;
    char *last;
    volatile bool stop;
};

struct connection {
    struct badserver *s;
    int fd;
};

static void pause_ms(unsigned ms)
{
    const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Reads one request; NULL at the end of the connection. */
static char *read_request(struct badserver *s, int fd)
{
    char *buf = malloc(REQUEST_MAX + 1);
    size_t n = 0, want = SIZE_MAX;
    while (n < want && n < REQUEST_MAX && !s->stop) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 50) == 0)
            continue;
        const ssize_t got = recv(fd, buf + n, REQUEST_MAX - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        buf[n] = '\0';
        const char *body = strstr(buf, "\r\n\r\n");
        if (body && want == SIZE_MAX) {
            const char *length = strcasestr(buf, "\r\ncontent-length:");
            want = (size_t)(body - buf) + 4 +
                   (length && length < body ? strtoul(length + 17, NULL, 10) : 0);
        }
    }
    if (want == SIZE_MAX || n < want) {
        free(buf);
        return NULL;
    }
    return buf;
}

static bool send_answer(struct badserver *s, int fd, const struct bad_answer *a)
{
    const size_t n = a->n ? a->n : strlen(a->bytes);
    if (a->drip_ms == 0 && !send_all(fd, a->bytes, n))
        return false;
    for (size_t i = 0; a->drip_ms > 0 && i < n && !s->stop; i++) {
        if (!send_all(fd, a->bytes + i, 1))
            return false;
        pause_ms(a->drip_ms);
    }
    for (size_t i = 0; i < a->repeat && !s->stop; i++)
        if (!send_all(fd, a->bytes + n - a->repeat_bytes, a->repeat_bytes))
            return false;
    return true;
}

static void finish(struct badserver *s, int fd, enum bad_end end)
{
    if (end == BAD_RESET) {
        const struct linger hard = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    while (end == BAD_HANG && !s->stop)
        pause_ms(20);
    if (end == BAD_CLOSE)
        shutdown(fd, SHUT_RDWR);
    close(fd);
}

static void *serve(void *arg)
{
    struct connection c = *(struct connection *)arg;
    struct badserver *s = c.s;
    free(arg);
    char *request = read_request(s, c.fd);
    if (!request) {
        close(c.fd);
        return NULL;
    }
    pthread_mutex_lock(&s->lock);
    const size_t i = s->requests < s->n ? s->requests : s->n - 1;
    s->requests++;
    free(s->last);
    s->last = request;
    pthread_mutex_unlock(&s->lock);
    send_answer(s, c.fd, &s->answers[i]);
    finish(s, c.fd, s->answers[i].end);
    return NULL;
}

static void *listen_loop(void *arg)
{
    struct badserver *s = arg;
    while (!s->stop) {
        struct pollfd p = {s->listener, POLLIN, 0};
        if (poll(&p, 1, 50) <= 0)
            continue;
        const int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            continue;
        struct connection *c = malloc(sizeof *c);
        *c = (struct connection){s, fd};
        ck_assert_uint_lt(s->nconnections, CONNECTIONS);
        pthread_create(&s->connections[s->nconnections++], NULL, serve, c);
    }
    return NULL;
}

struct badserver *badserver_start(const struct bad_answer *answers, size_t n)
{
    struct badserver *s = calloc(1, sizeof *s);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    s->answers = answers;
    s->n = n;
    pthread_mutex_init(&s->lock, NULL);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(s->listener, 0);
    ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(s->listener, 16), 0);
    ck_assert_int_eq(getsockname(s->listener, (struct sockaddr *)&at, &length), 0);
    s->port = ntohs(at.sin_port);
    pthread_create(&s->thread, NULL, listen_loop, s);
    return s;
}

unsigned badserver_port(const struct badserver *s)
{
    return s->port;
}

unsigned badserver_requests(struct badserver *s)
{
    pthread_mutex_lock(&s->lock);
    const unsigned n = s->requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}

const char *badserver_last(struct badserver *s)
{
    pthread_mutex_lock(&s->lock);
    const char *last = s->last ? s->last : "";
    pthread_mutex_unlock(&s->lock);
    return last;
}

void badserver_stop(struct badserver *s)
{
    s->stop = true;
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->nconnections; i++)
        pthread_join(s->connections[i], NULL);
    close(s->listener);
    pthread_mutex_destroy(&s->lock);
    free(s->last);
    free(s);
}
