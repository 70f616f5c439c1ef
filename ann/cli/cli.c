/* cli.c - the `ann` program: its commands, and main.
 *
 * Place: ann/cli.  The table below is what --help, completion and the man page's test read. */
#include <config.h>

#include "ann/cli/cli.h"
#ifdef HAVE_HDF5
#include "ann/io/hdf5.h"
#endif

#define DATA_MORE                                                                              \
    "DATA is an npy, fvecs, ivecs, bvecs, HDF5 (file.hdf5:dataset), IDX or raw file, or - "    \
    "for "                                                                                     \
    "standard input. "

const struct command cli_commands[] = {
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

const size_t cli_command_count = sizeof cli_commands / sizeof cli_commands[0];

int main(int argc, char **argv)
{
    struct args a;
    const int status = args_read(argc, argv, &a);
    if (status >= 0)
        return status;
#ifdef HAVE_HDF5
    hdf5_enable();
#endif
    session_start(&a);
    return a.command->run(&a);
}
