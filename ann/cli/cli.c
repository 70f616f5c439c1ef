/* cli.c - the `ann` program: its commands and options, and main.
 *
 * Place: ann/cli.  The tables below are what --help, completion and the man page's test read.
 */
#include <config.h>

#include <stddef.h>

#include "ann/cli/cli.h"
#ifdef HAVE_HDF5
#include "ann/io/hdf5.h"
#endif

#define DATA_MORE                                                                              \
    "DATA is an npy, fvecs, ivecs, bvecs, HDF5 (file.hdf5:dataset), IDX or raw file, or - "    \
    "for "                                                                                     \
    "standard input. "

static const struct command commands[] = {
    {"build", "DATA -o INDEX", "Make an index of the vectors of a file.",
     DATA_MORE
     "An index of that name is replaced when the new one is whole. Vectors get the ids "
     "0, 1, 2 and so on unless --ids gives others.",
     "ann build words.npy -o words.kith --metric cosine --profile fast --calibrate", 1, 1,
     cmd_build},
    {"add", "INDEX DATA", "Add vectors to an index.",
     DATA_MORE "All are added or none. Without --ids they are numbered on from the highest id.",
     "ann add words.kith more.npy --ids more-ids.txt", 2, 2, cmd_add},
    {"update", "INDEX DATA --ids FILE",
     "Replace vectors of an index, adding those that are new.",
     DATA_MORE "Vector i of DATA replaces that of id i of --ids, or is added.",
     "ann update words.kith changed.npy --ids changed-ids.txt", 2, 2, cmd_update},
    {"remove", "INDEX [ID]...", "Remove vectors from an index.",
     "Ids that are not there are passed over. Ids may be words, or come from --ids.",
     "ann remove words.kith 17 42 --ids old-ids.txt", 1, -1, cmd_remove},
    {"search", "INDEX QUERIES", "Find the nearest neighbours of queries.",
     "QUERIES is read as DATA is by build. Each line of jsonl is {\"query\":0,\"ids\":[...],"
     "\"distances\":[...]}; the columns of tsv are query, rank, id, distance. In npy and ivecs "
     "missing results are -1.",
     "ann search words.kith queries.npy -k 5 --effort 200", 2, 2, cmd_search},
    {"calibrate", "INDEX", "Learn which effort gives which recall.",
     "By exact search of the queries in a file, or else of stored vectors that are moved a "
     "little. It is kept in the index; \"ann search --recall 0.95\" uses it. Queries are "
     "better: those that will be asked.",
     "ann calibrate words.kith --queries queries.npy -k 10", 1, 1, cmd_calibrate},
    {"info", "INDEX", "Tell what an index file holds.",
     "Its header is read, and the file mapped to tell what it takes in memory.",
     "ann info words.kith --json", 1, 1, cmd_info},
    {"verify", "INDEX", "Check an index file: every byte, link and vector.",
     "If it is damaged, the exit status is 4 and \"repairable: yes\" or \"repairable: no\" "
     "tells "
     "whether its vectors can be had back.",
     "ann verify words.kith", 1, 1, cmd_verify},
    {"recall", "INDEX QUERIES", "Measure how much a search misses against exact search.",
     "A result counts if it is as near as the true k-th neighbour.",
     "ann recall words.kith queries.npy -k 10 --effort 100", 2, 2, cmd_recall},
    {"merge", "INDEX... -o INDEX", "Make one index of several.",
     "They must have the same dimension, metric and element type, and distinct ids unless "
     "--renumber is given.",
     "ann merge monday.kith tuesday.kith -o week.kith", 1, -1, cmd_merge},
    {"export", "INDEX -o FILE", "Write the vectors of an index to a file.",
     "They are written as the index holds them: under the cosine metric normalised; bits as "
     "packed "
     "bytes. A damaged graph does not matter with --map.",
     "ann export words.kith -o words.npy --ids-out ids.npy", 1, 1, cmd_export},
    {"convert", "FROM TO", "Convert vectors from one file format to another.",
     "Formats are told by the names, or by --from and --to. A number that does not fit the new "
     "type is an error.",
     "ann convert base.fvecs base.npy --type f16", 2, 2, cmd_convert},
};

#define AT(field) offsetof(struct args, field)
#define FORMATS   "npy fvecs ivecs bvecs raw idx hdf5"
#define TYPES     "f32 f16 bf16 f64 i8 u8 b1 i32 u32 i64 u64"
#define READERS   " build add update search recall convert "

static const struct cmd_option options[] = {
    {"output", 'o', "FILE", CMD_TEXT, AT(output), 0, 0, 0, NULL, " build search merge export ",
     "where to write; - is standard output where that can be"},
    {"spec", 0, "SPEC", CMD_TEXT, AT(spec), 0, 0, 0, NULL, " build merge ",
     "kind and options, such as hnsw,m=16,store=f16 or ivfpq,nlist=1000 or flat"},
    {"metric", 0, "METRIC", CMD_TEXT, AT(metric), 0, 0, 0, "l2 ip cosine hamming", " build ",
     "how near is measured: l2 (default), ip, cosine; hamming for bits"},
    {"profile", 0, "PROFILE", CMD_TEXT, AT(profile), 0, 0, 0, "balanced fast lean", " build ",
     "balanced (default), fast (hnsw: more memory), lean (no vectors, only codes)"},
    {"codes", 0, "CODES", CMD_TEXT, AT(codes), 0, 0, 0, "auto none sq8 sq4 1bit 2bit 3bit 4bit",
     " build ", "how vectors are coded; auto (default) goes by dimension and count"},
    {"calibrate", 0, NULL, CMD_FLAG, AT(calibrate), 0, 0, 0, NULL, " build ",
     "learn at the end which effort gives which recall, as \"ann calibrate\" does"},
    {"dry-run", 0, NULL, CMD_FLAG, AT(dry_run), 0, 0, 0, NULL, " build ",
     "only tell what memory the index would take"},
    {"seed", 0, "N", CMD_COUNT, AT(seed), AT(has_seed), 0, UINT64_MAX, NULL,
     " build merge calibrate ",
     "the same data, options and seed give the same file (default 0)"},
    {"ids", 0, "FILE", CMD_TEXT, AT(ids), 0, 0, 0, NULL, " build add update remove ",
     "ids of the vectors: text, one a line, or npy or ivecs of integers"},
    {"renumber", 0, NULL, CMD_FLAG, AT(renumber), 0, 0, 0, NULL, " merge ",
     "number the vectors anew from 0 instead of keeping their ids"},
    {"k", 'k', "N", CMD_COUNT, AT(k), 0, 1, ANN_K_MAX, NULL, " search recall calibrate ",
     "neighbours of each query (default 10)"},
    {"effort", 0, "N", CMD_COUNT, AT(effort), 0, 1, ANN_EFFORT_MAX, NULL, " search recall ",
     "hnsw: candidates kept, ivfpq: lists looked at; more finds more and takes longer "
     "(default: that of recall 0.95 where calibrated, else max(64, 2k))"},
    {"recall", 0, "R", CMD_REAL, AT(recall), AT(has_recall), 0, 0, NULL, " search recall ",
     "take the effort that finds this share of the true neighbours, such as 0.95; the index "
     "must be calibrated"},
    {"queries", 0, "FILE", CMD_TEXT, AT(queries), 0, 0, 0, NULL, " build calibrate ",
     "calibrate with these queries instead of stored vectors"},
    {"radius", 0, "R", CMD_REAL, AT(radius), AT(has_radius), 0, 0, NULL, " search ",
     "every vector at distance R or nearer, instead of k"},
    {"filter-ids", 0, "FILE", CMD_TEXT, AT(filter_ids), 0, 0, 0, NULL, " search recall ",
     "only these ids may be found"},
    {"format", 0, "FORMAT", CMD_TEXT, AT(format), 0, 0, 0, "table jsonl tsv npy ivecs",
     " search ",
     "of the results: table (default on a terminal), jsonl (default elsewhere), tsv, npy, "
     "ivecs"},
    {"distances", 0, "FILE", CMD_TEXT, AT(distances), 0, 0, 0, NULL, " search ",
     "distances too, as rows of f32, where results are npy or ivecs"},
    {"fail-empty", 0, NULL, CMD_FLAG, AT(fail_empty), 0, 0, 0, NULL, " search remove ",
     "exit with 3 if nothing was found"},
    {"map", 0, NULL, CMD_FLAG, AT(map), 0, 0, 0, NULL, " search recall export ",
     "map the index instead of loading it: starts at once, checks only its header"},
    {"ids-out", 0, "FILE", CMD_TEXT, AT(ids_out), 0, 0, 0, NULL, " export ",
     "ids of the exported vectors, in the same order: npy, or text by any other name"},
    {"json", 0, NULL, CMD_FLAG, AT(json), 0, 0, 0, NULL, " info verify recall calibrate build ",
     "one JSON object on standard output (all but verify print it anyway where that is no "
     "terminal); build: of --dry-run"},
    {"from", 0, "FORMAT", CMD_TEXT, AT(from), 0, 0, 0, FORMATS, READERS,
     "format of what is read; else the name tells, or the first bytes"},
    {"to", 0, "FORMAT", CMD_TEXT, AT(to), 0, 0, 0, "npy fvecs ivecs bvecs raw hdf5",
     " export convert ", "format of what is written; else the name tells"},
    {"type", 0, "TYPE", CMD_TEXT, AT(type), 0, 0, 0, TYPES,
     " build add update search recall export convert ",
     "element type of raw data that is read, or of what export and convert write"},
    {"dim", 0, "N", CMD_COUNT, AT(dim), 0, 1, 1 << 24, NULL, READERS,
     "numbers in a row of raw data (of type b1: bits)"},
    {"threads", 't', "N", CMD_COUNT, AT(threads), 0, 1, 1024, NULL, NULL,
     "threads to use (default: KITH_THREADS, else what this process may use)"},
    {"max-memory", 0, "SIZE", CMD_SIZE, AT(max_memory), 0, 1, UINT64_MAX, NULL, NULL,
     "fail rather than take more, such as 500M or 8G"},
    {"quiet", 'q', NULL, CMD_FLAG, AT(quiet), 0, 0, 0, NULL, NULL, "say nothing but errors"},
    {"help", 'h', NULL, CMD_FLAG, AT(help), 0, 0, 0, NULL, NULL, "print this and exit"},
    {"version", 0, NULL, CMD_FLAG, AT(version), 0, 0, 0, NULL, NULL,
     "print the version and exit"},
};

const struct program ann_program = {
    .name = "ann",
    .intro = "Build, change, search and check an index of nearest neighbours.",
    .footer =
        "Exit status: 0 done, 1 error, 2 wrong usage, 3 nothing found (with --fail-empty),\n"
        "4 damaged or not a kith file, 130 interrupted.\n\nExample:\n"
        "  ann build words.npy -o words.kith --metric cosine\n"
        "  ann search words.kith queries.npy -k 5\n",
    .version = ann_version,
    .isa = ann_isa,
    .env_error = ann_env_error,
    .options = options,
    .noptions = sizeof options / sizeof options[0],
    .commands = commands,
    .ncommands = sizeof commands / sizeof commands[0],
    .args_bytes = sizeof(struct args)};

int main(int argc, char **argv)
{
    struct args a;
    const int status = args_read(&ann_program, argc, argv, &a);
    if (status >= 0)
        return status;
#ifdef HAVE_HDF5
    hdf5_enable();
#endif
    session_start(&a);
    return a.command->run(&a);
}
