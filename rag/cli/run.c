/* run.c - signals, progress, finding the store, and how the program ends.
 *
 * Place: rag/cli.  Ctrl-C sets a flag that the progress callback hands on: the work stops at a
 * sound place, and what was committed stays.  A second one ends at once. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "ann/io/progress.h"
#include "rag/cli/cli.h"

static volatile sig_atomic_t interrupted; /* the signal, once it came */
static struct progress bar;
static bool quiet;
static char store_dir[PATH_MAX], purpose[128];

static void on_interrupt(int sig)
{
    interrupted = sig;
    signal(sig, SIG_DFL);
}

/* An index file that is mapped was cut short, or its disk failed. */
static void on_bus_error(int sig)
{
    static const char text[] = "rag: a part of an index file cannot be read; was it cut short? "
                               "(rag repair makes it anew)\n";
    (void)sig;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(CLI_DAMAGED);
    _exit(CLI_DAMAGED);
}

void run_start(const struct args *a)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}; /* no SA_RESTART: a read ends */
    sigemptyset(&interrupt.sa_mask);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &interrupt, NULL);
    struct sigaction bus = {.sa_handler = on_bus_error};
    sigemptyset(&bus.sa_mask);
    sigaction(SIGBUS, &bus, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    io_stop = &interrupted;
    quiet = a->quiet;
    progress_init(&bar, a->quiet, &interrupted);
}

/* ---- talk ---- */

void run_say(const char *format, ...)
{
    if (quiet)
        return;
    progress_clear(&bar);
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

void run_warn(const char *format, ...)
{
    progress_clear(&bar);
    fputs("rag: ", stderr);
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

static int status_of(rag_err err)
{
    switch (err) {
    case RAG_EDAMAGED:
    case RAG_EFORMAT:
    case RAG_EVERSION:
    case RAG_EDIM:
    case RAG_EMISMATCH:
        return CLI_DAMAGED;
    case RAG_EREFUSED:
    case RAG_ETOOLARGE:
        return CLI_REFUSED;
    case RAG_EUNAVAIL:
        return CLI_UNAVAILABLE;
    case RAG_EPARTIAL:
        return CLI_PARTIAL;
    default:
        return CLI_ERROR;
    }
}

rag_err run_library(rag_err err)
{
    return err ? (rag_err)error_set((ann_err)err, "%s", rag_error_message()) : err;
}

int run_end(rag_err err)
{
    progress_clear(&bar);
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && !err) {
        fprintf(stderr, "rag: standard output: %s\n",
                errno ? strerror(errno) : "cannot be written");
        return CLI_ERROR;
    }
    if (err == RAG_ECANCELED && interrupted) {
        fprintf(stderr, "rag: interrupted; what was committed stays\n");
        return 128 + interrupted;
    }
    if (!err)
        return CLI_OK;
    const char *text = error_message();
    fprintf(stderr, "rag: %s\n", *text ? text : rag_err_name(err));
    return status_of(err);
}

/* ---- the store ---- */

static bool is_store(const char *dir)
{
    char path[PATH_MAX + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s/store.db", dir);
    return stat(path, &st) == 0;
}

static bool find_above(void)
{
    char here[PATH_MAX - 8];
    if (!getcwd(here, sizeof here))
        return false;
    for (;;) {
        snprintf(store_dir, sizeof store_dir, "%s/.rag", strcmp(here, "/") == 0 ? "" : here);
        if (is_store(store_dir))
            return true;
        char *slash = strrchr(here, '/');
        if (!slash || strcmp(here, "/") == 0)
            return false;
        slash[slash == here] = '\0';
    }
}

static bool find_default(void)
{
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        snprintf(store_dir, sizeof store_dir, "%s/rag/default", xdg);
    else if (home && *home)
        snprintf(store_dir, sizeof store_dir, "%s/.local/share/rag/default", home);
    else
        return false;
    return is_store(store_dir);
}

const char *run_store_dir(const struct args *a)
{
    const char *given = a->store ? a->store : getenv("RAG_STORE");
    if (store_dir[0])
        return store_dir;
    if (given && *given)
        snprintf(store_dir, sizeof store_dir, "%s", given);
    else if (!find_above() && !find_default())
        snprintf(store_dir, sizeof store_dir, ".rag");
    return store_dir;
}

int run_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)arg;
    if (strcmp(what, "waiting") == 0)
        return interrupted != 0;
    return progress_step(&bar, what, done, total) || interrupted;
}

static rag_err open_at(const struct args *a, const char *dir, rag_access access,
                       rag_store **out)
{
    rag_options o = RAG_OPTIONS_INIT;
    snprintf(purpose, sizeof purpose, "rag %s", a->command->name);
    o.access = access;
    o.embedder = a->embedder;
    o.lang = a->lang;
    o.wait_ms = a->wait ? (unsigned)(a->wait * 1000) : 0;
    o.purpose = purpose;
    o.setting = config_get;
    o.progress = run_progress;
    o.threads = (unsigned)a->threads;
    const bool fresh = !is_store(dir);
    if (fresh && access == RAG_CREATE && !o.embedder)
        o.embedder = config_get(NULL, "embedder");
    return run_library(rag_open(dir, &o, out));
}

rag_err run_open_at(const struct args *a, const char *dir, rag_store **out)
{
    return open_at(a, dir, RAG_CREATE, out);
}

rag_err run_open(const struct args *a, rag_access access, rag_store **out)
{
    const char *dir = run_store_dir(a);
    const bool fresh = !is_store(dir);
    rag_err err = open_at(a, dir, access, out);
    if (err == RAG_ENOENT && fresh)
        run_say("rag: no store here or above; \"rag add FOLDER\" makes one");
    return err;
}

/* ---- a store that is not kept ---- */

rag_err run_scratch(char *dir, size_t room)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, room, "%s/rag-eval-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
    if (mkdtemp(dir))
        return RAG_OK;
    rag_err err = (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", dir, strerror(errno));
    *dir = '\0';
    return err;
}

void run_scratch_end(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(dir);
}

/* ---- input ---- */

rag_err run_slurp(const char *path, size_t most, char **text, size_t *bytes)
{
    if (strcmp(path, "-") != 0)
        return (rag_err)io_slurp(path, most, text, bytes);
    size_t n = 0, room = 65536;
    char *all = mem_alloc(room);
    while (all) {
        const ssize_t got = read(STDIN_FILENO, all + n, room - n - 1);
        if (got == 0)
            break;
        if (got < 0 && (errno != EINTR || interrupted)) {
            mem_free(all);
            return (rag_err)ANN_FAIL(interrupted ? ANN_ECANCELED : ANN_EIO,
                                     "standard input: %s", strerror(errno));
        }
        n += got > 0 ? (size_t)got : 0;
        if (n > most) {
            mem_free(all);
            return (rag_err)ANN_FAIL(ANN_ELIMIT, "standard input has more than %zu bytes",
                                     most);
        }
        if (room - n < 2) {
            char *more = mem_resize(all, room * 2);
            if (!more)
                mem_free(all);
            all = more;
            room *= 2;
        }
    }
    if (!all)
        return (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory for standard input");
    all[n] = '\0';
    *text = all;
    *bytes = n;
    return RAG_OK;
}

rag_err run_words(const struct args *a, int from, char **text)
{
    size_t bytes = 1, n = 0;
    if (a->n == from + 1 && strcmp(a->list[from], "-") == 0)
        return run_slurp("-", (size_t)1 << 20, text, &bytes);
    for (int i = from; i < a->n; i++)
        bytes += strlen(a->list[i]) + 1;
    char *all = mem_alloc(bytes);
    if (!all)
        return (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory for a question");
    all[0] = '\0';
    for (int i = from; i < a->n; i++)
        n += (size_t)snprintf(all + n, bytes - n, "%s%s", i > from ? " " : "", a->list[i]);
    *text = all;
    return RAG_OK;
}
