"""Compares the figures of rag eval with trec_eval's own, as pytrec_eval binds it.

    trec_check.py FIGURES QRELS RUN MODE

FIGURES: what `rag eval retrieval --json --each` printed; RUN: what --run-out wrote of MODE.
Every question's every figure must be the same to 1e-6. A question that a run lacks counts with 0.
"""
import json
import struct
import sys

import pytrec_eval

NAMES = {
    "nDCG@10": "ndcg_cut_10", "MAP@100": "map_cut_100", "precision@5": "P_5",
    **{f"recall@{k}": f"recall_{k}" for k in (1, 5, 10, 20, 100)},
    **{f"success@{k}": f"success_{k}" for k in (1, 5, 10)},
}


def read_qrels(path):
    qrels = {}
    for number, line in enumerate(open(path, encoding="utf-8")):
        part = line.split()
        if number == 0 and not part[-1].lstrip("-").isdigit():
            continue
        qrels.setdefault(part[0], {})[part[-2]] = int(part[-1])
    return qrels


def read_run(path):
    run = {}
    for line in open(path, encoding="utf-8"):
        question, _, document, _, score, _ = line.split()
        # A float of 32 bits, as trec_eval has it.
        score, = struct.unpack("f", struct.pack("f", float(score)))
        run.setdefault(question, {})[document] = score
    return run


def evaluate(qrels, run):
    measures = {"ndcg_cut.10", "map_cut.100", "P.5", "recall.1,5,10,20,100", "success.1,5,10"}
    figures = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    # recip_rank knows no cut: it sees the first ten alone, in trec_eval's order of ties.
    ten = {q: dict(sorted(d.items(), key=lambda x: (x[1], x[0]), reverse=True)[:10])
           for q, d in run.items()}
    for question, v in pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(ten).items():
        figures[question]["recip_rank"] = v["recip_rank"]
    return figures


def main():
    figures, qrels_path, run_path, mode = sys.argv[1:]
    want = evaluate(read_qrels(qrels_path), read_run(run_path))
    seen = compared = wrong = 0
    sums, means = {}, {}
    for line in open(figures, encoding="utf-8"):
        got = json.loads(line)
        if got.get("mode") != mode:
            continue
        if got["type"] == "run":
            means = got
            continue
        seen += 1
        for ours, theirs in {**NAMES, "MRR@10": "recip_rank"}.items():
            expected = want.get(got["question"], {}).get(theirs, 0)
            sums[ours] = sums.get(ours, 0) + expected
            compared += 1
            if abs(got[ours] - expected) > 1e-6:
                wrong += 1
                print(f"question {got['question']}: {ours} {got[ours]}, trec_eval {expected}")
    for name, total in sums.items():
        if abs(means[name]["mean"] - total / seen) > 1e-6:
            wrong += 1
            print(f"mean of {name}: {means[name]['mean']}, trec_eval {total / seen}")
    print(f"{mode}: {seen} questions, {compared} figures, {wrong} differ")
    sys.exit(wrong > 0 or seen == 0)


main()
