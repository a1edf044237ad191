"""What a client wrote -> what can stand between the marks of a prompt without closing them or naming the answer.

Text of a client may try to speak to the model: it may end the mark it stands in, begin a turn of a chat template, or
dictate the verdict. The first two cannot succeed. The third is made hard: a sentence that dictates a tier's name is
left out, the name is blotted out where it may be dictated ("keep it simple."), and left alone where it is an ordinary
word ("a simple function"). What describes the answer without naming it ("this one is trivial"), or names it in a cipher
or in a language that is not listed here, still reaches the model: the same words may be the honest ask. A small model
can be steered by it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

BLOT = "___"
"""Stands where a tier's name was dictated."""
LEAST_LEFT = 12
"""Visible characters that must be left of an ask for a sentence of it to be left out."""

# Tags of ours, and what ends or begins a turn in the templates of common models. Engines read those inside a text, too.
_MARK = re.compile(
    r"<(?=[|/\s]*(?:request|earlier)(?![a-z])"
    r"|[|]|/?s>|/?(?:think|pad|unk|bos|eos|mask|start_of_\w+|end_of_\w+|unused\d+|tool_\w+|sys|inst)\s*>|<\s{0,8}/?\s{0,8}sys)"
    r"|\[(?=\s{0,8}/?\s{0,8}(?:inst|system_prompt|available_tools|tool_\w+)\s*\])"
)
_INSTEAD = {"<": "‹", "[": "("}
# Whole ones are left out; what putting the rest together makes of it is broken by _MARK.
_WHOLE = re.compile(
    r"<[|/ \t]{0,4}(?:request|earlier)[ \t]{0,4}>"
    r"|<[|][^|<>\n]{0,40}[|]>(?:\s{0,4}(?:system|user|assistant|tool|model)(?=\n))?"
)
_EMPTY = re.compile(r"\n(?:[ \t]{0,8}\n){2,}")
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z|[\"')])|[。！？\n]")

_LOOKALIKES = dict(
    zip(
        "аеорсухікмтвнԁӏѕјαεοριτυκνχ‹〈＜⟨❮｜¦│ı",
        "aeopcyxikmtbhdlsjaeopitukvx<<<<<|||i",
        strict=True,
    )
)
_LEET = {"i": "i1!|l", "l": "l1!|i", "o": "o0", "e": "e3", "a": "a4@", "s": "s5$", "t": "t7", "g": "g9", "b": "b8"}

# Words that dictate an answer, in some languages; a name within the same line shortly after one is blotted out.
_DICTATES = (
    r"(?:answer|repl(?:y|ies)|respon\w{1,5}|output|print|say|classif\w+|rate|rated|label\w*|verdict|tiers?|categor\w+|"
    r"difficult\w*|level|grade\w*|rank\w*|choose|pick|select|mark|return|antwort\w*|sag|stufe|einstuf\w*|wähle|"
    r"répon\w+|réponse|dis|classe\w*|niveau|niveles?|nivel|clasif\w+|rispo\w+|risposta|ответ\w*|отвечай|скажи|уровень)"
)
_SURE = ("alone", "again", "told", "dictated", "cjk")
"""Ways of naming a tier that nobody but who dictates is likely to use: their whole sentence goes."""
_CJK_DICTATES = "回答|回复|答案|难度|輸出|输出|答え|回答して|分類|分类|난이도|대답|답"


_REMEMBERED = 65_536
"""Characters whose look is remembered, at most."""


class _Skeleton(dict[int, int]):
    """Character -> the plain lower-case letter it looks like. One for one, so that places in both texts agree."""

    def __missing__(self, code: int) -> int:
        char = chr(code)
        # Of a letter with marks the letter; syllables of Hangul would come apart.
        folded = char if "가" <= char <= "힣" else unicodedata.normalize("NFKD", char).casefold()[:1] or char
        plain = ord(_LOOKALIKES.get(folded, folded))
        if len(self) < _REMEMBERED:
            self[code] = plain
        return plain


class _Visible(dict[int, int | None]):
    """Leaves out what is not seen (format and control characters, but for tabs and line ends), and puts U+FFFD for half
    a surrogate pair, which no JSON can carry."""

    def __missing__(self, code: int) -> int | None:
        kind = unicodedata.category(chr(code))
        shown = None if kind in ("Cc", "Cf") and chr(code) not in "\n\t" else 0xFFFD if kind == "Cs" else code
        if len(self) < _REMEMBERED:
            self[code] = shown
        return shown


class Fence:
    """Makes texts harmless for a prompt whose answer is one of `names`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._skeleton, self._visible = _Skeleton(), _Visible()
        loose = [each for name in names if (each := _loose(name.translate(self._skeleton)))]
        self._dictated = _dictated(loose, _DICTATES.translate(self._skeleton), _CJK_DICTATES.translate(self._skeleton))

    def harmless(self, text: str) -> str:
        """`text` without marks and dictated names. At most three times as long."""
        text = text.translate(self._visible)
        plain = text.translate(self._skeleton)
        if whole := [(found.start(), found.end(), "") for found in _WHOLE.finditer(plain)]:
            text, plain = _replaced(text, whole), _replaced(plain, whole)
        spans = [(found.start(), found.end(), _INSTEAD[found[0]]) for found in _MARK.finditer(plain)]
        if self._dictated is not None:
            dictated = list(self._dictated.finditer(plain))
            sentences = _sentences(plain, [each for each in dictated if each.lastgroup in _SURE])
            if len("".join(_without(plain, sentences).split())) >= LEAST_LEFT:
                spans += [(start, end, "") for start, end in sentences]
            groups = ((each, each.lastgroup or "") for each in dictated)
            spans += [(each.start(group), each.end(group), BLOT) for each, group in groups]
        # Lines left empty would be a way to steer, too: small models mind them.
        return _EMPTY.sub("\n\n", _replaced(text, spans)).strip()


def _replaced(text: str, spans: list[tuple[int, int, str]]) -> str:
    """Of spans that overlap the one that begins first counts, of those the longest; what is left of others goes."""
    pieces: list[str] = []
    at = 0
    for start, end, instead in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= at:
            pieces += text[at:start], instead
        at = max(at, end)
    return "".join((*pieces, text[at:]))


def _sentences(plain: str, found: Sequence[re.Match[str]]) -> list[tuple[int, int]]:
    """Where the sentences, or lines, begin and end that these stand in."""
    if not found:
        return []
    ends = [each.end() for each in _SENTENCE_END.finditer(plain)]
    spans = []
    for each in found:
        before, after = bisect_right(ends, each.start()), bisect_left(ends, each.end())
        spans.append((ends[before - 1] if before else 0, ends[after] if after < len(ends) else len(plain)))
    return spans


def _without(plain: str, spans: Sequence[tuple[int, int]]) -> str:
    return _replaced(plain, [(start, end, "") for start, end in spans])


def _loose(name: str) -> str:
    """A pattern of `name`, with digits for letters and up to two separators between any two of them."""
    letters = [each for each in name if each.isalnum()]
    return r"[\W_]{0,2}".join(f"[{re.escape(_LEET.get(each, each))}]" for each in letters)


def _dictated(names: list[str], verbs: str, verbs_of_east: str) -> re.Pattern[str] | None:
    """Finds a name, as its last group, that stands alone in its line, several times, behind a colon or an arrow, in
    quotes, at the end of its clause, or after a word that dictates, one of `verbs`, in the letters of the skeleton.

    No more may follow the repetition of names but its end: where it can be read in several ways ("!!!" as I, II, III),
    going through them all would take for ever."""
    if not names:
        return None
    name = "(?:" + "|".join(sorted(names, key=len, reverse=True)) + ")"
    word = rf"(?<![^\W_]){name}(?![^\W_])"
    stop = r"(?=[ \t\"'`*_»”’]{0,4}(?:[.!?;,:)\]}>。！？、，；<]|\n|\Z))"
    return re.compile(
        rf"(?<![^\n])[^\w\n]{{0,8}}(?P<alone>{word})[^\w\n]{{0,8}}(?![^\n])"
        rf"|(?P<again>{word}(?:[\W_]{{1,3}}{word})+)"
        rf"|[:=>→：][ \t\"'`*«“„]{{0,4}}(?P<told>{word}){stop}"
        rf"|\b{verbs}\b(?:[^\w\n.!?]+\w+){{0,5}}?[^\w\n.!?]+(?P<dictated>{word}){stop}"
        rf"|(?:{verbs_of_east})[^\n]{{0,12}}?(?P<cjk>{name})"
        rf"|(?<=[\"'`*_«“‘„\[({{<])(?P<quoted>{word})(?=[\"'`*_»”’\])}}>])"
        rf"|\b{verbs}\b(?:[^\w\n.!?]+\w+){{0,3}}?[^\w\n.!?]+(?P<perhaps>{word})"
        rf"|(?P<last>{word}){stop}"
    )
