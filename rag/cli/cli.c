/* cli.c - the `rag` program: its commands and options, and main.
 *
 * Place: rag/cli.  The tables below are what --help, completion and the man page's test read.
 */
#include <config.h>

#include <stddef.h>

#include <ann/ann.h>

#include "rag/cli/cli.h"

#define WHERE_MORE                                                                             \
    "A condition is KEY=VALUE, or with !=, <, <=, >, >= or ~ (a glob); keys are source, "      \
    "title, type, added, else of a document's metadata. "

static const struct command commands[] = {
    {"add", "PATH...", "Add files and folders to a store, or refresh them.",
     "What did not change is not read again. Text, source code, Markdown, HTML, PDF, JSONL, "
     "CSV "
     "and TSV are read; - is one text from standard input. Names in .ragignore are passed "
     "over. "
     "Without a store here or above, .rag is made.",
     "rag add docs/ --exclude '*.log'", 1, -1, cmd_add},
    {"sync", "FOLDER...", "As add, and remove what is gone from the folders.",
     "If more than half of what is known would go, nothing is removed without --force.",
     "rag sync docs/ --dry-run", 1, -1, cmd_sync},
    {"search", "QUERY...", "Find the passages that fit a query best.",
     WHERE_MORE "The query - is standard input. Off a terminal each hit is a line of JSON.",
     "rag search \"how is a file saved?\" -k 5 --where type=markdown", 1, -1, cmd_search},
    {"ask", "QUESTION...", "Answer a question from the store, with sources.",
     "The best passages go to a language model in a system message beside the question. "
     "Without "
     "a model they are printed. --dry-run prints the request and sends nothing.",
     "rag ask \"how is a file saved?\" --model ollama:llama3.2", 1, -1, cmd_ask},
    {"similar", "ID", "Find the passages nearest to one.",
     "ID is a passage's number, as search tells it.", "rag similar 42 -k 5", 1, 1, cmd_similar},
    {"get", "SOURCE[:LINE[:COUNT]] | ID", "Print a document, lines of it, or a passage.",
     "A number is a passage's id.", "rag get docs/format.md:10:20", 1, 1, cmd_get},
    {"ls", "[CONDITION]...", "List the documents of a store.", WHERE_MORE,
     "rag ls 'source~docs*' type=markdown", 0, -1, cmd_ls},
    {"rm", "[SOURCE]...", "Remove documents from a store.",
     WHERE_MORE "--purge also erases their kept vectors, and their bytes on disk.",
     "rag rm docs/old.md --purge", 0, -1, cmd_rm},
    {"embed", "[TEXT]...", "Print the vectors of texts.",
     "By the store's embedder, or with --embedder by any, without a store. - takes standard "
     "input, one text; with --lines a text a line.",
     "rag embed \"a cat on a mat\" --as query", 0, -1, cmd_embed},
    {"export", "[vectors]",
     "Write every passage as a line of JSON, or vectors for other programs.",
     "With --vectors each passage has its vector; what export writes, import reads. export "
     "vectors writes vectors with their labels alone, as they came from the embedder: of "
     "passages, of documents (the mean of their passages), of each word of the texts, or of "
     "the "
     "embedder's own tokens. npy, fvecs and safetensors have their labels in FILE.ids, a line "
     "each; safetensors those of passages inside.",
     "rag export vectors --of documents -o documents.npy", 0, 1, cmd_export},
    {"import", "FILE", "Add texts from JSON Lines, with their vectors if they have some.",
     "Each line has id, text, title, meta, and perhaps vector, an array of the store's "
     "dimension; for pictures or sounds the text is a caption or a path. Vectors alone, as npy "
     "or fvecs, go with --texts.",
     "rag import pictures.jsonl --embedder brought:clip@512", 1, 1, cmd_import},
    {"reindex", "", "Make the index anew, or all vectors by another embedder.",
     "The old vectors are searched until the new ones are whole.",
     "rag reindex --embedder openai:text-embedding-3-small", 0, 0, cmd_reindex},
    {"status", "", "Tell what a store holds.", NULL, "rag status --json", 0, 0, cmd_status},
    {"verify", "", "Check every byte of a store that can be checked.",
     "If something is damaged the exit status is 4, and \"repairable: yes\" or \"repairable: "
     "no\" tells whether repair mends it.",
     "rag verify", 0, 0, cmd_verify},
    {"repair", "", "Make all that can be made anew: word index, index file, vectors.",
     "The database itself must be sound.", "rag repair", 0, 0, cmd_repair},
    {"backup", "FOLDER", "Copy a store while it is in use.", "FOLDER must not be there yet.",
     "rag backup /mnt/store-2026", 1, 1, cmd_backup},
    {"model", "list | import PATH | get NAME | check NAME",
     "Keep the models that run in this process.",
     "import makes kith's own file of a Hugging Face folder (BERT encoders, Model2Vec tables) "
     "or "
     "of GloVe or word2vec vectors; get fetches one from a hub, each file pinned by its "
     "SHA-256; "
     "check reads every byte of one.",
     "rag model import all-MiniLM-L6-v2/ --name minilm", 1, 2, cmd_model},
    {"distill", "TEACHER TEXTS...",
     "Make a static embedder that does as a contextual one does.",
     "TEACHER is local:NAME; TEXTS are files, or folders of them, with a text a line: some "
     "100,000 of the kind that will be searched are a good number.",
     "rag distill local:minilm-l6-v2 texts/ -o my-static.kith", 2, -1, cmd_distill},
    {"eval", "retrieval|ann|chunks|answers [FOLDER]",
     "Measure searches, the index, how texts are cut, and answers.",
     "FOLDER has corpus.jsonl, queries.jsonl and qrels.tsv, as BEIR's have. retrieval puts its "
     "documents into a store that is thrown away afterwards; with --store they are added "
     "there, "
     "and without a corpus that store is judged as it is. Figures are trec_eval's. ann "
     "compares "
     "the store's index with exact search over its own vectors, at several efforts, by "
     "--queries, by the questions that search.log has kept, or by passages of the store. "
     "chunks "
     "tells passages of which size hold best what answers the questions. answers judges "
     "answers "
     "against references of --queries: those of a file, or of the model, which is asked as ask "
     "does.",
     "rag eval retrieval scifact/ --modes text,static,fast", 1, 2, cmd_eval},
    {"embedders", "", "List the embedders whose vectors a store keeps.", NULL, "rag embedders",
     0, 0, cmd_embedders},
    {"keys", "set|list|path|rm [NAME]", "Keep the keys of servers, readable by you alone.",
     "NAME is openai, cohere, jina, llamacpp or tei. set reads the key from standard input, "
     "without showing it.",
     "rag keys set openai", 1, 2, cmd_keys},
    {"config", "get|set|unset|list|path [NAME [VALUE]]", "Read and change settings.",
     "An option counts before the environment, that before the store's file, that before the "
     "user's. A store's file cannot set addresses or keys.",
     "rag config set chat.model ollama:llama3.2", 1, 3, cmd_config},
    {"completion", "bash", "Print what makes a shell complete rag's words.", NULL,
     "rag completion bash > ~/.local/share/bash-completion/completions/rag", 1, 1,
     cmd_completion},
};

#define AT(field) offsetof(struct args, field)
#define ADDING    " add sync "
#define FINDING   " search ask similar "
#define PRINTING                                                                               \
    " search ask similar get ls rm embed add sync import status embedders config verify "      \
    "model "                                                                                   \
    "distill eval "

static const struct cmd_option options[] = {
    {"include", 0, "GLOB", CMD_LIST, AT(include), 0, 0, 0, NULL, ADDING,
     "only files that fit, such as '*.md'; may be given again"},
    {"exclude", 0, "GLOB", CMD_LIST, AT(exclude), 0, 0, 0, NULL, ADDING,
     "no files that fit; may be given again"},
    {"type", 0, "TYPE", CMD_TEXT, AT(format), 0, 0, 0,
     "plain source markdown html pdf jsonl csv tsv", " add sync ",
     "how files are read, whatever their names say"},
    {"meta", 0, "JSON", CMD_TEXT, AT(meta), 0, 0, 0, NULL, " add sync import ",
     "metadata for every document, such as '{\"team\":\"core\"}'"},
    {"source", 0, "NAME", CMD_TEXT, AT(source), 0, 0, 0, NULL, " add ",
     "what a text from standard input is called"},
    {"source", 0, "TEXT", CMD_TEXT, AT(source), 0, 0, 0, NULL, " model distill ",
     "what the model's file says of where it comes from"},
    {"licence", 0, "TEXT", CMD_TEXT, AT(licence), 0, 0, 0, NULL, " model distill ",
     "and of its licence"},
    {"name", 0, "NAME", CMD_TEXT, AT(name), 0, 0, 0, NULL, " model distill ",
     "what the model is called (default: by the path)"},
    {"pin", 0, "FILE=SHA256", CMD_LIST, AT(pins), 0, 0, 0, NULL, " model ",
     "a file of a model whose hashes are not known here, as OWNER/NAME; may be given again"},
    {"dims", 0, "N", CMD_COUNT, AT(dims), 0, 16, 4096, NULL, " distill ",
     "dimensions, a multiple of 16 (default 256)"},
    {"epochs", 0, "N", CMD_COUNT, AT(epochs), 0, 1, 1000, NULL, " distill ",
     "times that all texts are gone through (default 16)"},
    {"judge", 0, "FOLDER", CMD_LIST, AT(judge), 0, 0, 0, NULL, " distill ",
     "tell nDCG@10 of the result and of the teacher on a collection (corpus.jsonl, "
     "queries.jsonl, "
     "qrels.tsv); may be given again"},
    {"seed", 0, "N", CMD_COUNT, AT(seed), 0, 0, UINT64_MAX, NULL, " distill ",
     "of the order of texts (default 0)"},
    {"id-field", 0, "NAME", CMD_TEXT, AT(id_field), 0, 0, 0, NULL, " add sync import ",
     "field or column of a record that is its id (default id)"},
    {"text-field", 0, "NAME", CMD_TEXT, AT(text_field), 0, 0, 0, NULL, " add sync import ",
     "field or column of a record that is its text (default text)"},
    {"max-bytes", 0, "SIZE", CMD_SIZE, AT(max_bytes), 0, 1, 0, NULL, ADDING,
     "files above this are skipped (default 32M)"},
    {"hidden", 0, NULL, CMD_FLAG, AT(hidden), 0, 0, 0, NULL, ADDING,
     "take files whose name begins with a dot, too"},
    {"force", 0, NULL, CMD_FLAG, AT(force), 0, 0, 0, NULL, ADDING,
     "read files again that look unchanged; remove however many are gone"},
    {"lang", 0, "LANG", CMD_TEXT, AT(lang), 0, 0, 0, "en any", " add sync import ",
     "of a new store: en (English words are stemmed; default) or any"},
    {"mode", 0, "MODE", CMD_TEXT, AT(mode), 0, 0, 0,
     "hybrid static contextual vector text exact", " search ask eval ",
     "hybrid (default): vectors and words; contextual: the best of these by a second embedder; "
     "vector or static: vectors alone; text: words alone; exact: every vector looked at"},
    {"contextual", 0, "URI", CMD_TEXT, AT(contextual), 0, 0, 0, NULL, " search ask eval ",
     "second embedder, which judges the best hits of a hybrid (default: contextual.model, else "
     "local:minilm-l6-v2); its vectors are made when first needed, and kept"},
    {"contextual", 0, NULL, CMD_FLAG, AT(closer), 0, 0, 0, NULL, " reindex ",
     "by the second embedder: what it has judged already is not made again, and then it is "
     "searched directly"},
    {"budget", 0, "MS", CMD_TEXT, AT(budget), 0, 0, 0, NULL, " search ask eval ",
     "milliseconds that vectors of the second embedder may take, or none (default 300)"},
    {"depth", 0, "N", CMD_COUNT, AT(depth), 0, 1, 200, NULL, " search ask eval ",
     "how many hits it judges (default 100)"},
    {"k", 'k', "N", CMD_COUNT, AT(k), 0, 1, 10000, NULL, FINDING, "passages (default 10)"},
    {"k", 'k', "N", CMD_COUNT, AT(k), 0, 1, 10000, NULL, " eval ",
     "of ann: vectors asked for (default 200, as many as a search looks at); of chunks and "
     "answers: passages (default 5, 10)"},
    {"where", 'w', "CONDITION", CMD_LIST, AT(where), 0, 0, 0, NULL, FINDING " rm eval ",
     "only documents for which it holds; may be given again"},
    {"fast", 0, NULL, CMD_FLAG, AT(fast), 0, 0, 0, NULL, " search ask eval ",
     "neither a second embedder nor a re-ranker"},
    {"rerank", 0, "MODEL", CMD_TEXT, AT(rerank), 0, 0, 0, NULL, " search ask eval ",
     "order the first hits anew: cohere:NAME, jina:NAME, tei:URL, llamacpp:URL"},
    {"rerank-depth", 0, "N", CMD_COUNT, AT(rerank_depth), 0, 1, 1000, NULL, " search ask eval ",
     "how many of them (default 40)"},
    {"share", 0, "A", CMD_REAL, AT(share), AT(has_share), 0, 0, NULL, " search ask eval ",
     "share of vectors in a hybrid, above 0 to 1 (default: the embedder's)"},
    {"fusion", 0, "RULE", CMD_TEXT, AT(fusion), 0, 0, 0, "score rrf", " search ask eval ",
     "how a hybrid puts both together: score (default) or rrf"},
    {"min-score", 0, "S", CMD_REAL, AT(min_score), 0, 0, 0, NULL, FINDING,
     "leave out what has less"},
    {"copies", 0, NULL, CMD_FLAG, AT(copies), 0, 0, 0, NULL, FINDING,
     "show one text of several sources several times"},
    {"vector", 0, "FILE", CMD_TEXT, AT(vector), 0, 0, 0, NULL, " search ",
     "a JSON array to search by, in place of the query's vector"},
    {"explain", 0, NULL, CMD_FLAG, AT(explain), 0, 0, 0, NULL, FINDING,
     "show what each score is made of"},
    {"full", 0, NULL, CMD_FLAG, AT(full), 0, 0, 0, NULL, FINDING,
     "show passages whole on a terminal, too"},
    {"format", 0, "FORMAT", CMD_TEXT, AT(format), 0, 0, 0, "text jsonl tsv ids",
     " search similar ", "text (default on a terminal), jsonl (default elsewhere), tsv, ids"},
    {"format", 0, "FORMAT", CMD_TEXT, AT(format), 0, 0, 0,
     "npy fvecs word2vec jsonl safetensors msgpack", " export ",
     "of vectors: npy, fvecs, word2vec, jsonl, safetensors, msgpack (default: by the end of "
     "FILE's name, else jsonl)"},
    {"of", 0, "WHAT", CMD_TEXT, AT(of), 0, 0, 0, "chunks documents words tokens", " export ",
     "which vectors: chunks (passages; default), documents, words, tokens; words and tokens "
     "only of embedders that need no server"},
    {"f16", 0, NULL, CMD_FLAG, AT(f16), 0, 0, 0, NULL, " export ",
     "vectors as 16-bit floats (npy, safetensors, msgpack)"},
    {"fail-empty", 0, NULL, CMD_FLAG, AT(fail_empty), 0, 0, 0, NULL, FINDING " ls ",
     "exit with 3 if nothing was found"},
    {"model", 'm', "MODEL", CMD_TEXT, AT(model), 0, 0, 0, NULL, " ask eval ",
     "language model: openai:NAME, ollama:NAME, llamacpp:URL[#NAME], URL#NAME"},
    {"context-tokens", 0, "N", CMD_COUNT, AT(context_tokens), 0, 100, 1000000, NULL,
     " ask eval ", "tokens that sources may take (default 3000)"},
    {"max-tokens", 0, "N", CMD_COUNT, AT(max_tokens), 0, 1, 1000000, NULL, " ask eval ",
     "of the answer"},
    {"temperature", 0, "T", CMD_REAL, AT(temperature), AT(has_temperature), 0, 0, NULL,
     " ask eval ", "of the model"},
    {"open", 0, NULL, CMD_FLAG, AT(open), 0, 0, 0, NULL, " ask eval ",
     "let the model answer from elsewhere too"},
    {"datamark", 0, NULL, CMD_FLAG, AT(datamark), 0, 0, 0, NULL, " ask eval ",
     "mark the words of sources, against instructions hidden in them"},
    {"corpus", 0, "FILE", CMD_TEXT, AT(corpus), 0, 0, 0, NULL, " eval ",
     "documents: JSON lines with _id, title, text, or id, tab and text"},
    {"queries", 0, "FILE", CMD_TEXT, AT(queries), 0, 0, 0, NULL, " eval ",
     "questions: the same, or TREC topics; of ann, too; of answers JSON lines with text, and "
     "answers or references"},
    {"unanswerable", 0, "FILE", CMD_TEXT, AT(unanswerable), 0, 0, 0, NULL, " eval ",
     "of answers: questions that the sources do not answer, which are to be refused"},
    {"answers", 0, "FILE", CMD_TEXT, AT(answers), 0, 0, 0, NULL, " eval ",
     "of answers: JSON lines with _id and answer, perhaps sources (how many), to be judged "
     "instead of asking"},
    {"answers-out", 0, "FILE", CMD_TEXT, AT(answers_out), 0, 0, 0, NULL, " eval ",
     "of answers: put there what the model answers, and do not ask again what is there"},
    {"refusal", 0, "PHRASE", CMD_LIST, AT(refusals), 0, 0, 0, NULL, " eval ",
     "of answers: words that refuse, beside the English ones known; may be given again"},
    {"qrels", 0, "FILE", CMD_TEXT, AT(qrels), 0, 0, 0, NULL, " eval ",
     "judgments: question, document and grade, as BEIR or TREC write them"},
    {"modes", 0, "LIST", CMD_TEXT, AT(modes), 0, 0, 0, NULL, " eval ",
     "ways of searching, with commas: text, static (or vector), exact, fast (a hybrid without "
     "a "
     "second look), hybrid, contextual, rerank (default text,static,fast,hybrid; with --rerank "
     "rerank too)"},
    {"run", 0, "FILE", CMD_LIST, AT(runs), 0, 0, 0, NULL, " eval ",
     "what another system found, in TREC's format; may be given again"},
    {"run-out", 0, "FILE", CMD_TEXT, AT(run_out), 0, 0, 0, NULL, " eval ",
     "write what was found in TREC's format; {} in the name becomes the mode"},
    {"each", 0, NULL, CMD_FLAG, AT(each), 0, 0, 0, NULL, " eval ",
     "with --json, the figures of each question too"},
    {"every", 0, "N", CMD_COUNT, AT(every), 0, 1, 1000000, NULL, " eval ",
     "only each N-th question (default 1)"},
    {"as", 0, "SIDE", CMD_TEXT, AT(side), 0, 0, 0, "document query", " embed ",
     "which prefix texts get (default document)"},
    {"lines", 0, NULL, CMD_FLAG, AT(lines), 0, 0, 0, NULL, " embed ", "a text a line"},
    {"vectors", 0, NULL, CMD_FLAG, AT(vectors), 0, 0, 0, NULL, " export ",
     "write vectors, too"},
    {"output", 'o', "FILE", CMD_TEXT, AT(output), 0, 0, 0, NULL, " export ",
     "where to write (default standard output; of vectors only jsonl and word2vec)"},
    {"output", 'o', "FILE", CMD_TEXT, AT(output), 0, 0, 0, NULL, " model distill ",
     "the model's file (default, of import: NAME.kith in the user's folder)"},
    {"drop-old", 0, NULL, CMD_FLAG, AT(drop_old), 0, 0, 0, NULL, " reindex ",
     "forget the vectors of the embedder before"},
    {"purge", 0, NULL, CMD_FLAG, AT(purge), 0, 0, 0, NULL, " rm ",
     "erase kept vectors of texts that are gone, and their bytes on disk"},
    {"efforts", 0, "LIST", CMD_TEXT, AT(efforts), 0, 0, 0, NULL, " eval ",
     "of ann: ascending, with commas (default: a quarter of k to eight times k)"},
    {"target-recall", 0, "R", CMD_REAL, AT(target), AT(has_target), 0, 0, NULL, " eval ",
     "of ann: keep the smallest effort whose interval lies at or above it as the store's"},
    {"sample", 0, "N", CMD_COUNT, AT(sample), 0, 1, 100000, NULL, " eval ",
     "of ann: queries at most (default 500)"},
    {"html", 0, "FILE", CMD_TEXT, AT(html), 0, 0, 0, NULL, " eval ",
     "write the figures as a page with plots, too"},
    {"sizes", 0, "LIST", CMD_TEXT, AT(sizes), 0, 0, 0, NULL, " eval ",
     "of chunks: tokens that a passage is cut to, with commas (default 60,90,120,180,240,360)"},
    {"tokens", 0, "N", CMD_COUNT, AT(tokens), 0, 1, 1000000, NULL, " eval ",
     "of chunks: tokens of a prompt that passages of each size fill (default 1000)"},
    {"join", 0, NULL, CMD_FLAG, AT(join), 0, 0, 0, NULL, " eval ",
     "documents of one title become one, in their order"},
    {"passages", 0, NULL, CMD_FLAG, AT(passages), 0, 0, 0, NULL, " eval ",
     "of ann: queries are passages of the store, though questions were kept"},
    {"sample", 0, "N", CMD_COUNT, AT(sample), 0, 1, UINT64_MAX, NULL, " verify ",
     "compare the vectors of only so many passages (default: all)"},
    {"key-file", 0, "FILE", CMD_TEXT, AT(key_file), 0, 0, 0, NULL, " keys ",
     "read the key from there"},
    {"origin", 0, NULL, CMD_FLAG, AT(origin), 0, 0, 0, NULL, " config ",
     "tell where each setting comes from"},
    {"texts", 0, "FILE", CMD_TEXT, AT(texts), 0, 0, 0, NULL, " import ",
     "what the rows of an npy or fvecs file are: a caption or path a line"},
    {"dry-run", 0, NULL, CMD_FLAG, AT(dry_run), 0, 0, 0, NULL, " add sync ask ",
     "only tell what would be done, or sent"},
    {"json", 0, NULL, CMD_FLAG, AT(json), 0, 0, 0, NULL, PRINTING,
     "JSON Lines on a terminal, too"},
    {"embedder", 0, "URI", CMD_TEXT, AT(embedder), 0, 0, 0, NULL, NULL,
     "static:NAME, local:NAME, builtin:hash-v1, openai:NAME[@DIMS], ollama:NAME, tei:URL, "
     "llamacpp:URL, "
     "brought:NAME@DIMS; of a new store, or one it must have"},
    {"store", 's', "FOLDER", CMD_TEXT, AT(store), 0, 0, 0, NULL, NULL,
     "the store (default: RAG_STORE, else .rag here or above)"},
    {"wait", 0, "SECONDS", CMD_COUNT, AT(wait), 0, 1, 86400, NULL, NULL,
     "for another process that writes (default 10)"},
    {"threads", 't', "N", CMD_COUNT, AT(threads), 0, 1, 1024, NULL, NULL,
     "threads to use (default: KITH_THREADS, else what this process may use)"},
    {"color", 0, "WHEN", CMD_TEXT, AT(color), 0, 0, 0, "auto always never", NULL,
     "colours (default auto; NO_COLOR switches them off)"},
    {"quiet", 'q', NULL, CMD_FLAG, AT(quiet), 0, 0, 0, NULL, NULL, "say nothing but errors"},
    {"help", 'h', NULL, CMD_FLAG, AT(help), 0, 0, 0, NULL, NULL, "print this and exit"},
    {"version", 0, NULL, CMD_FLAG, AT(version), 0, 0, 0, NULL, NULL,
     "print the version and exit"},
};

const struct program rag_program = {
    .name = "rag",
    .intro = "Keep texts, find those that answer a question, and let a language model answer.",
    .footer =
        "Exit status: 0 done, 1 error, 2 wrong usage, 3 nothing found (with --fail-empty),\n"
        "4 damaged, or another embedder's vectors, 5 refused by a server, 6 server\n"
        "unavailable, 7 some inputs failed, 130 interrupted.\n\nExample:\n"
        "  rag add docs/\n"
        "  rag ask \"how is a file saved?\"\n",
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
    report_called(argc, argv); /* before they are sorted */
    const int status = args_read(&rag_program, argc, argv, &a);
    if (status >= 0)
        return status;
    run_start(&a);
    print_start(&a);
    rag_err err = config_load(run_store_dir(&a));
    return err ? run_end(err) : a.command->run(&a);
}
