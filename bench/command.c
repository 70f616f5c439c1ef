/* command.c - the command line of annbench: words, options, help.
 *
 * Place: bench. */
#include <config.h>

#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/command.h"

static const char help_all[] =
    "annbench - recall and speed of nearest-neighbour search, against exact search and peers\n"
    "\n"
    "  annbench [OPTION]...                 the default suite: flat and hnsw on fashion-mnist\n"
    "  annbench run DATA... [OPTION]...     measure indexes on data of your own\n"
    "  annbench peers DATA... [OPTION]...   kith beside other libraries, one core, in turns\n"
    "  annbench data [NAME]                 list the known data sets, or make one ready\n"
    "\n"
    "DATA: a folder with base.npy (and query.npy, gt.npy, meta.json), an HDF5 file of\n"
    "ann-benchmarks, an fvecs, bvecs or npy file, a known name, or\n"
    "synthetic:kind=clusters|uniform,n=10000,d=64,seed=1.  Where there are no queries, 1,000 "
    "rows\n"
    "are held out.\n"
    "\n"
    "  --index SPEC      an index to measure, as hnsw,m=24, ivfpq or flat; may be repeated;\n"
    "                    --specs is the same; none: peers alone\n"
    "  --k K             neighbours to find (10)\n"
    "  --recall LIST     report queries a second at these recalls (0.9,0.95,0.99)\n"
    "  --effort LIST     efforts to measure (from k, of lists from 1, upwards until the "
    "highest\n"
    "                    recall)\n"
    "  --metric M        l2, angular or ip (as the data say)\n"
    "  --threads N       of building and of batches (all processors; peers: 1)\n"
    "  --batch           measure all queries at once instead of one at a time (peers: of kith\n"
    "                    too)\n"
    "  --single          peers: single calls count, not the better of single and batch\n"
    "  --rounds N        medians are taken over N rounds (3; peers: 5)\n"
    "  --pin CPU         tie the searching thread to a processor (peers: the last one)\n"
    "  --epsilon E       count distances up to E beyond the k-th, as ann-benchmarks does\n"
    "  --seconds S       time each point so long in each round (0.2; peers: 1)\n"
    "  --cpu-clock       time by processor time: other work on the machine counts less\n"
    "  --filter P%       run: also with a filter that so many rows pass, at random, or with\n"
    "                    P%,clustered whole neighbourhoods; may be repeated\n"
    "  --calibrate       run: also what asking for a recall by number delivers; half of the\n"
    "                    queries calibrate, the other half judge\n"
    "  --churn           run: also after half of the vectors were removed and added again\n"
    "  --grid NAME       peers: which of the grids in peers.json: graphs (the default), ivf\n"
    "  --peers LIST      peers: only these, such as hnswlib,symqg32; none: kith alone\n"
    "  --sweep           peers: every setting on all queries and kith beside each peer at the\n"
    "                    same effort, instead of the best settings at a recall\n"
    "  --rebuild         peers: build their indexes again, though they are kept\n"
    "  --flat            peers: exact search in batches, k = 100, instead of graphs\n"
    "  --no-file         do not write each index to find the size of its file\n"
    "  --json FILE       results as JSON Lines (- for standard output)\n"
    "  --report FILE     results as one HTML page\n"
    "  -q, --quiet       no progress, no remarks\n"
    "  -h, --help        this text\n"
    "  --version         the version\n"
    "\n"
    "Examples:\n"
    "  annbench --report report.html\n"
    "  annbench run vectors/ --index hnsw --index hnsw,m=32 --recall 0.95 --json out.jsonl\n"
    "  annbench run synthetic:n=100000,d=96 --threads 2 --batch\n"
    "  annbench data wink-100 && annbench peers wink-100\n"
    "\n"
    "Exit status: 0 good, 1 error, 2 wrong usage, 4 results that cannot be right, 6 packages "
    "or\n"
    "data could not be fetched, 130 interrupted.\n";

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("annbench: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\nTry: annbench --help\n", stderr);
    va_end(args);
    return EXIT_USAGE;
}

static bool parse_whole(const char *text, unsigned long long low, unsigned long long high,
                        unsigned long long *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    const unsigned long long v = strtoull(text, &end, 10);
    if (*end || v < low || v > high)
        return false;
    *out = v;
    return true;
}

/* Calls put for each part of a list with commas; false if one is refused or there are none. */
static bool parse_list(const char *text, struct command *c,
                       bool (*put)(struct command *c, const char *part))
{
    char copy[256], *save;
    if (strlen(text) >= sizeof copy)
        return false;
    memcpy(copy, text, strlen(text) + 1);
    char *part = strtok_r(copy, ",", &save);
    if (!part)
        return false;
    for (; part; part = strtok_r(NULL, ",", &save))
        if (!put(c, part))
            return false;
    return true;
}

static bool put_recall(struct command *c, const char *part)
{
    char *end;
    const double v = strtod(part, &end);
    if (end == part || *end || !(v > 0 && v <= 1) || c->run.ntargets == OUTCOME_TARGETS_MAX)
        return false;
    c->run.targets[c->run.ntargets++] = v;
    return true;
}

static bool put_effort(struct command *c, const char *part)
{
    unsigned long long v;
    if (!parse_whole(part, 1, ANN_EFFORT_MAX, &v) || c->run.nefforts == OUTCOME_POINTS_MAX)
        return false;
    c->run.efforts[c->run.nefforts++] = (size_t)v;
    return true;
}

/* Names of peers.json, which is not read yet. */
static bool put_peers(struct command *c, const char *text)
{
    char *save;
    if (strlen(text) >= sizeof c->peer_list)
        return false;
    memcpy(c->peer_list, text, strlen(text) + 1);
    c->npeers = 0;
    for (char *p = strtok_r(c->peer_list, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        if (c->npeers == COMMAND_PEERS_MAX)
            return false;
        c->peers[c->npeers++] = p;
    }
    return c->npeers > 0;
}

enum option_code {
    OPT_INDEX = 256,
    OPT_K,
    OPT_RECALL,
    OPT_EFFORT,
    OPT_METRIC,
    OPT_THREADS,
    OPT_BATCH,
    OPT_ROUNDS,
    OPT_PIN,
    OPT_EPSILON,
    OPT_SECONDS,
    OPT_PEERS,
    OPT_REBUILD,
    OPT_CPU_CLOCK,
    OPT_CALIBRATE,
    OPT_CHURN,
    OPT_FILTER,
    OPT_FLAT,
    OPT_GRID,
    OPT_SWEEP,
    OPT_SINGLE,
    OPT_NO_FILE,
    OPT_JSON,
    OPT_REPORT,
    OPT_VERSION
};

static const struct option options[] = {
    {"index", required_argument, NULL, OPT_INDEX},
    {"k", required_argument, NULL, OPT_K},
    {"recall", required_argument, NULL, OPT_RECALL},
    {"effort", required_argument, NULL, OPT_EFFORT},
    {"metric", required_argument, NULL, OPT_METRIC},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"batch", no_argument, NULL, OPT_BATCH},
    {"rounds", required_argument, NULL, OPT_ROUNDS},
    {"pin", required_argument, NULL, OPT_PIN},
    {"epsilon", required_argument, NULL, OPT_EPSILON},
    {"specs", required_argument, NULL, OPT_INDEX},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"peers", required_argument, NULL, OPT_PEERS},
    {"rebuild", no_argument, NULL, OPT_REBUILD},
    {"cpu-clock", no_argument, NULL, OPT_CPU_CLOCK},
    {"calibrate", no_argument, NULL, OPT_CALIBRATE},
    {"churn", no_argument, NULL, OPT_CHURN},
    {"filter", required_argument, NULL, OPT_FILTER},
    {"flat", no_argument, NULL, OPT_FLAT},
    {"grid", required_argument, NULL, OPT_GRID},
    {"sweep", no_argument, NULL, OPT_SWEEP},
    {"single", no_argument, NULL, OPT_SINGLE},
    {"no-file", no_argument, NULL, OPT_NO_FILE},
    {"json", required_argument, NULL, OPT_JSON},
    {"report", required_argument, NULL, OPT_REPORT},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static bool number_option(int code, struct command *c)
{
    unsigned long long v;
    char *end;
    switch (code) {
    case OPT_K:
        if (!parse_whole(optarg, 1, ANN_K_MAX, &v))
            return false;
        c->run.k = (size_t)v;
        return true;
    case OPT_THREADS:
        if (!parse_whole(optarg, 1, 1024, &v))
            return false;
        c->run.threads = (unsigned)v;
        return true;
    case OPT_ROUNDS:
        if (!parse_whole(optarg, 1, RUNNER_ROUNDS_MAX, &v))
            return false;
        c->run.rounds = (unsigned)v;
        return true;
    case OPT_PIN:
        if (!parse_whole(optarg, 0, CPU_SETSIZE - 1, &v))
            return false;
        c->run.pin = (int)v;
        return true;
    case OPT_SECONDS:
        c->run.pass_s = strtod(optarg, &end);
        return end != optarg && !*end && c->run.pass_s > 0 && c->run.pass_s <= 600;
    default:
        c->run.epsilon = strtod(optarg, &end);
        return end != optarg && !*end && c->run.epsilon >= 0;
    }
}

static bool take_option(int code, struct command *c)
{
    switch (code) {
    case OPT_INDEX:
        if (c->nspecs == COMMAND_LIST_MAX)
            return false;
        c->specs[c->nspecs++] = optarg;
        return true;
    case OPT_RECALL:
        c->run.ntargets = 0;
        return parse_list(optarg, c, put_recall);
    case OPT_EFFORT:
        c->run.nefforts = 0;
        return parse_list(optarg, c, put_effort);
    case OPT_METRIC:
        return !dataset_metric_parse(optarg, &c->metric);
    case OPT_BATCH:
        c->run.batch = c->run.batch_counts = true;
        c->run.single = false;
        return true;
    case OPT_PEERS:
        return put_peers(c, optarg);
    case OPT_CPU_CLOCK:
        c->run.cpu_clock = true;
        return true;
    case OPT_REBUILD:
        c->rebuild = true;
        return true;
    case OPT_CALIBRATE:
        c->calibrate = true;
        return true;
    case OPT_CHURN:
        c->churn = true;
        return true;
    case OPT_FILTER:
        return c->nfilters < COMMAND_LIST_MAX &&
               passing_parse(optarg, &c->filters[c->nfilters++]);
    case OPT_FLAT:
        c->flat = true;
        c->grid = "flat";
        return true;
    case OPT_GRID:
        c->grid = optarg;
        return *optarg;
    case OPT_SINGLE:
        c->single = true;
        return true;
    case OPT_SWEEP:
        c->sweep = true;
        return true;
    case OPT_NO_FILE:
        c->run.file = false;
        return true;
    case OPT_JSON:
        c->json = optarg;
        return true;
    case OPT_REPORT:
        c->report = optarg;
        return true;
    case 'q':
        c->run.quiet = true;
        return true;
    default:
        return number_option(code, c);
    }
}

/* The last processor that we may use: the first one serves interrupts more often. */
static int last_processor(void)
{
    cpu_set_t set;
    int last = -1;
    if (sched_getaffinity(0, sizeof set, &set))
        return -1;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET((unsigned)i, &set))
            last = i;
    return last;
}

static void set_defaults(struct command *c)
{
    struct run_settings *r = &c->run;
    const bool peers = c->verb == COMMAND_PEERS;
    if (!c->grid)
        c->grid = "graphs";
    if (!r->ntargets) {
        r->targets[0] = 0.9;
        r->targets[1] = 0.95;
        r->targets[2] = 0.99;
        r->ntargets = 3;
    }
    if (!r->k)
        r->k = c->flat ? 100 : 10;
    if (!r->threads)
        r->threads = peers ? 1 : ann_threads_default();
    if (!r->rounds)
        r->rounds = peers ? 5 : 3;
    if (!(r->pass_s > 0))
        r->pass_s = peers ? 1 : RUNNER_PASS_S;
    if (peers) {
        r->single = !c->flat;
        r->batch = !c->single || c->flat;
        r->batch_counts = r->batch_counts || c->flat;
        if (r->pin < 0 && r->threads == 1)
            r->pin = last_processor();
    }
    if (!c->nspecs && !peers) {
        c->specs[c->nspecs++] = "flat";
        c->specs[c->nspecs++] = "hnsw";
    }
    if (c->verb == COMMAND_SUITE)
        c->data[c->ndata++] = "fashion-mnist";
}

static int parse_words(int argc, char **argv, struct command *c)
{
    static const char *const verbs[] = {NULL, "run", "peers", "data"};
    if (optind == argc)
        return -1;
    for (int i = 1; i < 4; i++)
        if (!strcmp(argv[optind], verbs[i]))
            c->verb = (enum command_verb)i;
    if (c->verb == COMMAND_SUITE)
        return complain("\"%s\" is not run, peers or data", argv[optind]);
    while (++optind < argc) {
        if (c->ndata == COMMAND_LIST_MAX)
            return complain("more than %d data sets", COMMAND_LIST_MAX);
        c->data[c->ndata++] = argv[optind];
    }
    if (!c->ndata && c->verb != COMMAND_DATA)
        return complain("%s what? Name a data set", verbs[c->verb]);
    return -1;
}

int command_parse(int argc, char **argv, struct command *c)
{
    memset(c, 0, sizeof *c);
    c->run.pin = -1;
    c->run.single = true;
    c->run.file = true;
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, ":qh", options, NULL)) != -1;) {
        if (code == 'h') {
            fputs(help_all, stdout);
            return EXIT_SUCCESS;
        }
        if (code == OPT_VERSION) {
            printf("annbench (kith) %s\n", ann_version());
            return EXIT_SUCCESS;
        }
        if (code == ':')
            return complain("%s needs a value", argv[optind - 1]);
        if (code == '?')
            return complain("no option %s", argv[optind - 1]);
        if (!take_option(code, c))
            return complain("\"%s\" is not a value for that option, or one too many",
                            optarg ? optarg : argv[optind - 1]);
    }
    const int status = parse_words(argc, argv, c);
    if (status < 0)
        set_defaults(c);
    return status;
}
