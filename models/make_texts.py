"""make_texts.py - the English texts that english-v1 is distilled on, from Debian's packages.

Place: models.  Usage: make_texts.py FOLDER: fetches the packages that texts.txt lists (apt-get
download, nothing is installed), checks their SHA-256, and writes FOLDER/PACKAGE.txt, a passage a
line.  Needs Python alone.  Same packages, same bytes.

Passages are paragraphs of HTML pages, articles of dictionaries, definitions of WordNet and of
the Gene Ontology; code, tables and lists of options are left out.  None of them stands in a
collection that retrieval is judged on.
"""

import glob
import gzip
import hashlib
import html.parser
import os
import re
import sqlite3
import subprocess
import sys
import urllib.parse

SHORTEST, LONGEST = 40, 1500  # characters
OTHER_TONGUES = set("ar ca cs da de el es eu fa fi fr gl he hi hr hu id it ja ko lt lv ml nb nl "
                    "nn pl pt ro ru rw sk sl sr sv ta th tr uk vi zh".split())


def fail(text):
    sys.stderr.write(text + "\n")
    sys.exit(1)


def is_prose(text):
    """English sentences rather than code, tables or other scripts."""
    letters = sum(c.isascii() and c.isalpha() or c == " " for c in text)
    words = text.split()
    return letters >= 0.85 * len(text) and len(words) >= 6 and max(map(len, words)) < 40


class Paragraphs(html.parser.HTMLParser):
    """The text of p, dd and li elements, without code and what lies around the page's body."""

    BLOCKS = {"p", "dd", "li", "td", "blockquote"}
    PASSED = {"script", "style", "nav", "pre", "head", "table", "footer"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found, self.text, self.passed = [], [], 0

    def close_block(self):
        self.found.append("".join(self.text))
        self.text = []

    def handle_starttag(self, tag, attrs):
        if tag in self.PASSED:
            self.passed += 1
        if tag in self.BLOCKS or tag in ("br", "div", "h1", "h2", "h3"):
            self.close_block()

    def handle_endtag(self, tag):
        if tag in self.PASSED and self.passed:
            self.passed -= 1
        if tag in self.BLOCKS or tag == "div":
            self.close_block()

    def handle_data(self, data):
        if not self.passed:
            self.text.append(data)


def from_html(folder):
    """Pages in the order of their names; of translations only the English ones."""
    names = glob.glob(folder + "/usr/share/**/*.htm*", recursive=True)
    names += glob.glob(folder + "/usr/share/**/*.html.gz", recursive=True)
    names += glob.glob(folder + "/usr/share/**/*.html.en", recursive=True)
    for name in sorted(set(names)):
        tongues = re.findall(r"[/-]([a-z]{2})(?:[-_][A-Za-z]{2,4})?(?=/)", name)
        if any(t in OTHER_TONGUES for t in tongues):
            continue
        if os.path.islink(name) or not os.path.isfile(name):
            continue
        opened = gzip.open(name) if name.endswith(".gz") else open(name, "rb")
        with opened as f:
            page = f.read().decode("utf-8", "replace")
        parser = Paragraphs()
        parser.feed(page)
        parser.close_block()
        yield from parser.found


def from_wordnet(folder):
    """Each synset's words with its definition, and its quoted examples."""
    for pos in ("noun", "verb", "adj", "adv"):
        with open(f"{folder}/usr/share/wordnet/data.{pos}", encoding="utf-8") as f:
            for line in f:
                if line.startswith("  ") or "|" not in line:
                    continue
                fields, gloss = line.split("|", 1)
                fields = fields.split()
                count = int(fields[3], 16)
                words = ", ".join(w.replace("_", " ") for w in fields[4:4 + 2 * count:2])
                yield words + ": " + re.split(r';\s*"', gloss.strip())[0].rstrip("; ")
                yield from re.findall(r'"([^"]+)"', gloss)


def from_dictionary(folder):
    """Paragraphs of the articles of dictd's dictionaries."""
    for name in sorted(glob.glob(folder + "/usr/share/dictd/*.dict.dz")):
        with gzip.open(name) as f:
            text = f.read().decode("utf-8", "replace")
        for article in re.split(r"\n\s*\n", text):
            article = re.sub(r"\[[^\]]*\]|\\[^\\\n]*\\|\(\d{4}-\d\d-\d\d\)|<[^>]*>", " ", article)
            yield re.sub(r"[{}]", "", article)


def from_ontology(folder):
    """Terms of the Gene Ontology with their definitions."""
    path = glob.glob(folder + "/usr/lib/R/**/GO.sqlite", recursive=True)[0]
    with sqlite3.connect(f"file:{urllib.parse.quote(path)}?mode=ro", uri=True) as db:
        for term, definition in db.execute("SELECT term, definition FROM go_term ORDER BY go_id"):
            yield f"{term}: {definition}"
            if definition:
                yield definition


def from_fortunes(folder):
    for name in sorted(glob.glob(folder + "/usr/share/games/fortunes/*")):
        if name.endswith((".dat", ".u8")) or os.path.islink(name):
            continue
        with open(name, encoding="utf-8", errors="replace") as f:
            yield from re.split(r"\n%\n", f.read())


READERS = {"wordnet-base": from_wordnet, "r-bioc-go.db": from_ontology,
           "fortunes": from_fortunes, "fortunes-min": from_fortunes}


def fetch(folder, package, version, sha256):
    """The package's file, with the right bytes."""
    path = f"{folder}/{package}.deb"
    if not os.path.exists(path):
        got = subprocess.run(["apt-get", "download", "-qq", f"{package}={version}"], cwd=folder,
                             capture_output=True, text=True, check=False)
        made = glob.glob(f"{folder}/{package}_*.deb")
        if got.returncode or not made:
            fail(f"{package} {version} cannot be fetched (after apt-get update?): {got.stderr}")
        os.rename(made[0], path)
    with open(path, "rb") as f:
        found = hashlib.sha256(f.read()).hexdigest()
    if found != sha256:
        fail(f"{path}: SHA-256 {found}, not {sha256}")
    return path


def passages(raw, seen):
    for text in raw:
        text = re.sub(r"\s+", " ", text).strip()
        if len(text) > LONGEST:
            cut = text.rfind(". ", 0, LONGEST)
            text = text[:cut + 1] if cut > 0 else ""
        key = hashlib.sha1(text.lower().encode()).digest()
        if len(text) >= SHORTEST and key not in seen and is_prose(text):
            seen.add(key)
            yield text


def main():
    if len(sys.argv) != 2:
        fail("usage: make_texts.py FOLDER")
    folder = os.path.abspath(sys.argv[1])
    os.makedirs(folder + "/.packages", exist_ok=True)
    here = os.path.dirname(os.path.abspath(__file__))
    seen, total = set(), 0
    with open(here + "/texts.txt", encoding="utf-8") as f:
        rows = [line.split() for line in f if line.strip() and not line.startswith("#")]
    for package, version, sha256, *_ in rows:
        deb = fetch(folder + "/.packages", package, version, sha256)
        tree = f"{folder}/.packages/{package}"
        subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
        reader = READERS.get(package, from_dictionary if package.startswith("dict-")
                             else from_html)
        lines = list(passages(reader(tree), seen))
        with open(f"{folder}/{package}.txt", "w", encoding="utf-8") as out:
            out.writelines(line + "\n" for line in lines)
        subprocess.run(["rm", "-rf", tree], check=True)
        total += len(lines)
        sys.stderr.write(f"{package}: {len(lines):,} passages\n")
    sys.stderr.write(f"{total:,} passages\n")


main()
