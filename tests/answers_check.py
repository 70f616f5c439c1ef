"""Compares the figures of rag eval answers with other counts of them.

    answers_check.py make FOLDER
    answers_check.py check FOLDER FIGURES SOME VECTORS

make writes FOLDER/queries.jsonl, FOLDER/answers.jsonl and FOLDER/texts: random texts, and every
character that the two tokenizers could take for a letter or not. check compares what
`rag eval answers --json --each` printed of them: ROUGE-L with Google's rouge_score, exact match and
F1 with SQuAD's rules (lower case; string.punctuation goes; the words a, an, the become blanks;
blanks part tokens), every question to 1e-9; cosines of SOME, what it printed of the first 200,
with VECTORS, what `rag embed --lines` printed of FOLDER/texts; and the shuffled baseline with the exact mean over all pairs. A sigma is left out:
which of its two small letters it gets depends, in Python, on its place in the word.
"""
import collections
import json
import math
import random
import re
import string
import sys
import unicodedata

import numpy as np
from rouge_score import rouge_scorer

WORDS = ["the", "a", "an", "The", "AN", "king", "Rollo", "911", "10th", "duchy", "its", "it's",
         "U.S.", "co-op", "the-end", "a.", "(an)", "naïve", "Über", "İstanbul", "K", "中文",
         "a\u0301", "\u201cthe\u201d", "the\u2013cat", "x_the_y", "theory", "\u00a0", "\x1c", "\x85",
         "1,000", "½", "²", "Ⅷ", "ﬁn", "ǅ", "e\u0301tat"]


def tokens(text):
    kept = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(?:a|an|the)\b", " ", kept).split()


def squad(answer, reference):
    mine, theirs = tokens(answer), tokens(reference)
    common = sum((collections.Counter(mine) & collections.Counter(theirs)).values())
    if not mine or not theirs:
        f1 = float(mine == theirs)
    else:
        f1 = 2 * common / (len(mine) + len(theirs))
    return float(" ".join(mine) == " ".join(theirs)), f1


def has_word(text):
    return any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) in ("Mn", "Mc") for c in text)


def salad(rnd, n):
    words = rnd.choices(WORDS, k=n)
    # no citation: its mark would be taken out
    return rnd.choice(["", " "]) + "".join(w + rnd.choice([" ", " ", "  ", "", "\n"]) for w in words)


def make(folder):
    rnd = random.Random(11)
    items = []
    for _ in range(1500):
        answer = salad(rnd, rnd.randint(0, 40))
        references = [salad(rnd, rnd.randint(1, 12)) for _ in range(rnd.randint(1, 4))]
        if rnd.random() < 0.3:
            references.append(" ".join(tokens(answer)) or "x")
        if rnd.random() < 0.3:
            references.append(" ".join(answer.upper().split()[::2]) or "x")
        items.append((answer, [r for r in references if r.strip()] or ["x"]))
    for code in list(range(0x20, 0x3400)) + list(range(0x3400, 0x20000, 13)):
        c = chr(code)
        if unicodedata.category(c) in ("Cn", "Cs", "Co") or c.lower() in "σς" or c in "[`\\":
            continue
        answer = f"q{c}the{c}An b{c} {c}"
        items.append((answer, [" ".join(tokens(answer)) or "q", f"Q{c}b{c}".lower(), "q " + c]))
    with open(f"{folder}/queries.jsonl", "w") as q, open(f"{folder}/answers.jsonl", "w") as a:
        for i, (answer, references) in enumerate(items):
            q.write(json.dumps({"_id": str(i), "text": f"question {i}", "answers": references}) + "\n")
            a.write(json.dumps({"_id": str(i), "answer": answer}) + "\n")
    with open(f"{folder}/texts", "w", encoding="utf-8") as t:
        for i in range(SOME):
            for text in items[i][1] + [items[i][0]]:
                t.write((text.replace("\n", " ") if has_word(text) else "blank") + "\n")


SOME = 200  # of the random ones, whose vectors are compared


def compare(what, got, want, limit, wrong):
    if not math.isclose(got, want, rel_tol=0, abs_tol=limit):
        wrong.append(f"{what}: {got}, not {want}")


def check_texts(questions, answers, figures, wrong):
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    for question in questions:
        references, answer = question["answers"], answers[question["_id"]]
        if question["_id"] not in figures:
            continue
        got = figures[question["_id"]]
        pairs = [squad(answer, r) for r in references]
        rouge = max(scorer.score(r, answer)["rougeL"].fmeasure for r in references)
        what = f"{answer!r} and {references!r}"[:300]
        compare(f"exact match of {what}", got["exact_match"], max(p[0] for p in pairs), 1e-9, wrong)
        compare(f"F1 of {what}", got["token_f1"], max(p[1] for p in pairs), 1e-9, wrong)
        compare(f"ROUGE-L of {what}", got["rouge_l"], rouge, 1e-9, wrong)


def check_cosines(questions, given, figures, summary, vectors, wrong):
    n = len(questions)
    lines = iter(np.array([json.loads(x)["vector"] for x in open(vectors)]))
    refs, answers = [], []
    for question in questions:
        # a text without a word has no direction: 0
        refs.append(np.array([next(lines) * has_word(r) for r in question["answers"]]))
        answers.append(next(lines) * has_word(given[question["_id"]]))
    best = np.array([[(r @ a).max() for r in refs] for a in answers])
    for i, question in enumerate(questions):
        compare(f"cosine of question {i}", figures[question["_id"]]["cosine"], best[i, i], 1e-5, wrong)
    others = (best.sum() - np.trace(best)) / (n * (n - 1))
    rnd = random.Random(4)
    means = []
    while len(means) < 2000:
        order = rnd.sample(range(n), n)
        if all(i != k for i, k in enumerate(order)):
            means.append(np.mean([best[i, k] for i, k in enumerate(order)]))
    spread = np.std(means)
    compare("cosine_shuffled", summary["cosine_shuffled"]["mean"], others, 5 * spread / 1000 ** .5, wrong)
    z = (np.trace(best) / n - others) / spread
    compare("cosine_z", summary["cosine_z"], z, 0.1 * abs(z) + 0.1, wrong)
    return z


def check(folder, figures_path, some_path, vectors):
    questions = [json.loads(x) for x in open(f"{folder}/queries.jsonl")]
    answers = {a["_id"]: a["answer"] for a in map(json.loads, open(f"{folder}/answers.jsonl"))}

    def read(path):
        lines = [json.loads(x) for x in open(path)]
        return lines[0], {f["question"]: f for f in lines[1:]}

    wrong = []
    summary, figures_of_all = read(figures_path)
    figures = figures_of_all
    check_texts(questions, answers, figures, wrong)
    for name in ("exact_match", "token_f1", "rouge_l"):
        mean = sum(f[name] for f in figures.values()) / len(figures)
        compare(f"mean of {name}", summary[name]["mean"], mean, 1e-9, wrong)
    summary, figures = read(some_path)
    z = check_cosines(questions[:SOME], answers, figures, summary, vectors, wrong)
    print("\n".join(wrong[:20]))
    print(f"{len(figures_of_all)} answers, cosines of {SOME} (z {z:.2f}): {len(wrong)} figures differ")
    sys.exit(len(wrong) > 0)


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    check(*sys.argv[2:])
