"""What is secret because of where it stands: after a name (`DB_PASSWORD=`, `"token": "..."`), in a URL, in a header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..chars import byte_length
from .rules import (
    ALNUM,
    DIGITS,
    ENDINGS,
    LETTERS,
    LOWER,
    NAMES,
    PASSWORD,
    STOPS,
    TOKEN,
    UPPER,
    WORD,
    Name,
    Span,
    at,
    classes,
    has_placeholder,
    is_free,
    lowered,
    run,
    starts_placeholder,
)

_BLANK = " \t\n\r\x0b\x0c"
_QUOTES = "\"'`"
_LOOK = 64  # characters of a value that are looked at
_LONGEST = 8192  # bytes of UTF-8

_AUTHORITY = re.compile(r"[^ \t\n\r\x0b\x0c/\"'`<>\\]*")


def url_passwords(text: str) -> Iterator[Span]:
    """The password in `scheme://user:password@host`."""
    start = text.find("://")
    while start >= 0:
        start += 3
        found = _AUTHORITY.match(text, start)
        authority = found[0] if found else ""
        user, _, password = authority[: max(authority.rfind("@"), 0)].partition(":")
        if password and not _is_template(password):
            begin = start + len(user) + 1
            yield Span(begin, begin + len(password), PASSWORD)
        start = text.find("://", start + len(authority))


_BEARER = re.compile("[Bb][Ee][Aa][Rr][Ee][Rr] ")
_BEARER_CHARS = WORD + ".~+/="


def bearer_tokens(text: str) -> Iterator[Span]:
    """What looks random after the word Bearer."""
    for found in _BEARER.finditer(text):
        start = found.end()
        end = _without_dots(text, start, run(text, start, _BEARER_CHARS))
        if is_free(text, found.start()) and _is_random(text[start:end]):
            yield Span(start, end, TOKEN)


_USER = re.compile("(?:-u|--user) ")
_USER_VALUE = re.compile(r"[^ \t\n\r\x0b\x0c\"'`]*")


def curl_passwords(text: str) -> Iterator[Span]:
    """The password in `curl -u user:password`, up to 200 characters of ASCII after the word curl on its line."""
    for found in _USER.finditer(text):
        start = found.end() + (at(text, found.end()) in "\"'")
        value = _USER_VALUE.match(text, start)
        user, _, password = value[0].partition(":") if value else ("", "", "")
        numbers = all(char in DIGITS for char in user + password)
        if password and not _is_template(password) and not numbers and _after_curl(text, found):
            begin = start + len(user) + 1
            yield Span(begin, begin + len(password), PASSWORD)


def _after_curl(text: str, found: re.Match[str]) -> bool:
    start = found.start()
    while start > 0 and found.start() - start < 200 and "\n" != text[start - 1] < "\x80":
        start -= 1
    return "curl" in text[start : found.start()]


class _Value(NamedTuple):
    """A value in a text: what stands between its quotes, if it has any."""

    start: int
    end: int
    quoted: bool


_MARK = re.compile("[=:>]| is |--")


def assigned(text: str) -> Iterator[Span]:
    """Values of secret names: `name=value`, `name: value`, `<name>value<`, `name is value`, `--name value`."""
    values = _Values(text)
    found = _MARK.search(text)
    while found:
        span = _assigned_at(text, found, values)
        if span:
            yield span
        found = _MARK.search(text, span.end if span else found.start() + 1)


def _assigned_at(text: str, found: re.Match[str], values: _Values) -> Span | None:
    mark, start = found.start(), found.end()
    if found[0] == ">":
        return _element(text, mark)
    if found[0] == "--":
        end = run(text, start, WORD, 64)
        name, begin, start = text[start:end], start, end + 1
        if at(text, end) != " ":
            return None
    else:
        begin, end = _name(text, mark, 0 if found[0] == " is " else 8)
        name = text[begin:end]
        if found[0] != " is ":
            start = run(text, run(text, start, "=:>~", 2), " \t*", 16)
    if not name:
        return None
    lower = lowered(name)
    if lower.endswith("authorization"):
        return _authorization(text, start)
    if lower in ("cookie", "set-cookie"):
        return _cookie(text, start)
    rule = _rule(text, begin, name)
    typed = rule is None and found[0] == "=" and at(text, begin - 1) == " " and at(text, begin - 2) == ":"
    if typed:
        begin, end = _name(text, begin - 2, 8)
        rule = _rule(text, begin, text[begin:end])
    if rule is None or starts_placeholder(text, start):
        return None
    is_variable = found[0] == "=" and start == mark + 1 and _is_variable(name) and at(text, begin - 1) not in "?&"
    value = values.at(start, is_variable)
    if (typed and not value.quoted) or not _is_secret(text, value, rule, is_variable):
        return None
    return Span(value.start, value.end, rule.placeholder)


def _is_variable(name: str) -> bool:
    """Whether `name` looks like one of the environment: `DB_PASSWORD`."""
    lower, upper, _ = classes(name)
    return upper and not lower


def _name(text: str, end: int, closing: int) -> tuple[int, int]:
    """Where the name before `end` begins and ends; quotes, brackets and blanks may stand between, `closing` of them."""
    stop = end
    while end > 0 and stop - end < closing and text[end - 1] in " \t\"'`]*\\":
        end -= 1
    start = end
    while start > 0 and end - start < 64 and text[start - 1] in WORD + ".":
        start -= 1
    return start, end


def _rule(text: str, start: int, name: str) -> Name | None:
    """The rule for `name`, which stands at `start`: of those that it ends like, the one with the longest word."""
    if lowered(name) == "key" and at(text, start - 1) == " ":
        before, _ = _name(text, start - 1, 0)
        name = text[before : start - 1] + name
    name = _without_ending(name)
    plain = "".join(char for char in lowered(name) if char not in "_-.")
    best = None
    for rule in NAMES:
        longer = plain.endswith(rule.word) and (best is None or len(rule.word) > len(best.word))
        if longer and (not rule.apart or _stands_apart(name, rule.word)):
            best = rule
    return best


def _without_ending(name: str) -> str:
    """`name` without a last word that says which one it is: `_1`, `-prod`."""
    cut = max(name.rfind("_"), name.rfind("-"), name.rfind("."))
    last = name[cut + 1 :]
    if cut > 0 and (lowered(last) in ENDINGS or (last and all(char in DIGITS for char in last))):
        return name[:cut]
    return name


def _stands_apart(name: str, word: str) -> bool:
    start = len(name) - len(word)
    if start < 0 or lowered(name[start:]) != word:
        return False
    before = at(name, start - 1)
    return start == 0 or before in "_-." or (before in LOWER + DIGITS and name[start] in UPPER)


_ELEMENT = re.compile(r"[^ \t\n\r\x0b\x0c<>]+")


def _element(text: str, mark: int) -> Span | None:
    start, end = _name(text, mark, 0)
    found = _ELEMENT.match(text, mark + 1)
    if start == end or at(text, start - 1) != "<" or not found or not text.startswith("</", found.end()):
        return None
    rule = _rule(text, start, text[start:end])
    value = _Value(found.start(), found.end(), True)
    if rule is None or not _is_secret(text, value, rule, False):
        return None
    return Span(value.start, value.end, rule.placeholder)


_CREDENTIALS = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]{0,24} )? {0,4}([^ \t\n\r\x0b\x0c\"'`,;<>()\\]{1,256})")
_REST = re.compile(r"[^ \t\n\r\x0b\x0c\"'`,;<>()\\]*")


def _authorization(text: str, start: int) -> Span | None:
    """What follows the scheme of an Authorization header: `Basic dXNlcjpw`; a lone word if it looks random."""
    if at(text, start) == "\\":
        start += 1
    found = _CREDENTIALS.match(text, start + (at(text, start) in _QUOTES))
    if not found:
        return None
    look = found[1][:_LOOK]
    is_code = look == found[1] and at(text, found.end()) == "("
    rest = None if is_code or _is_template(look) or not _is_random(look) else _REST.match(text, found.end())
    return Span(found.start(1), rest.end(), TOKEN) if rest else None


_PAIR = re.compile("[A-Za-z0-9_.%-]{1,64}=")
_LINE = re.compile("[^\n\"'`]*")


def _cookie(text: str, start: int) -> Span | None:
    """All cookies of a header."""
    if at(text, start) in _QUOTES:
        start += 1
    line = _LINE.match(text, start) if _PAIR.match(text, start) else None
    return Span(start, line.end(), TOKEN) if line else None


_PLAIN_END = re.compile(r"[ \t\n\r\x0b\x0c\"'`,;&()<>{}\[\]|\\]")
_VARIABLE_END = re.compile(r"[ \t\n\r\x0b\x0c\"'`]")


class _Values:
    """Finds where values end, each end once: many names may stand in one long run."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends = {_PLAIN_END: -1, _VARIABLE_END: -1}

    def at(self, start: int, is_variable: bool) -> _Value:
        """The value that begins at `start`. Without a closing quote on its line it ends with the line."""
        text = self._text
        if at(text, start) == "\\" and at(text, start + 1) in _QUOTES:
            return self._until(start + 2, text[start : start + 2])
        prefix = run(text, start, "brBRu", 2)
        if at(text, prefix) in _QUOTES:
            return self._until(prefix + 1, text[prefix])
        end = self._end(_VARIABLE_END if is_variable else _PLAIN_END, start)
        return _Value(start, _without_dots(text, start, end), False)

    def _until(self, start: int, quote: str) -> _Value:
        text, end = self._text, start
        while end < len(text) and text[end] != "\n":
            if text.startswith(quote, end):
                break
            end += 2 if text[end] == "\\" and len(quote) == 1 else 1
        return _Value(start, min(end, len(text)), True)

    def _end(self, pattern: re.Pattern[str], start: int) -> int:
        if self._ends[pattern] < start:
            found = pattern.search(self._text, start)
            self._ends[pattern] = found.start() if found else len(self._text)
        return self._ends[pattern]


def _without_dots(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1] in ".*:":
        end -= 1
    return end


def _is_template(value: str) -> bool:
    """Whether something else is put there later, or was: `${NAME}`, `<your key>`, `****`, `[TOKEN]`."""
    first, second = at(value, 0), at(value, 1)
    if first in "{<" or (first == "$" and second in LETTERS + "_{(") or (first == "%" and second in "({s"):
        return True
    look = value[:_LOOK]
    return all(char == first for char in look) or has_placeholder(value)


def _is_secret(text: str, value: _Value, rule: Name, is_variable: bool) -> bool:
    """Whether `value`, which belongs to a name of `rule`, is a secret."""
    found, after = text[value.start : value.end], at(text, value.end)
    length = byte_length(found)
    if not 4 <= length <= _LONGEST or (not value.quoted and after in "(["):
        return False
    if rule.random:
        is_url = "://" in found[:_LOOK]
        sound = _is_random(found) and not is_url and not _names_something(found)
        sound = sound and (value.quoted or not _is_path(found))
    elif value.quoted:
        sound = length <= 256 and (not _names_something(found) or any(char in DIGITS for char in found))
    else:
        sound = after not in "){" and _is_password(found, rule, is_variable)
    is_word = lowered(found) in STOPS or _is_type(found)
    is_sentence = value.quoted and rule.word != "passphrase" and any(char in _BLANK for char in found)
    return sound and not is_word and not is_sentence and not _is_template(found)


def _is_password(found: str, rule: Name, is_variable: bool) -> bool:
    """Whether a value without quotes, which may be code or the next word of a sentence, is a password."""
    lower, upper, digit = classes(found[:_LOOK])
    letter = lower or upper
    if is_variable:
        return letter or digit
    if _is_path(found) or (_names_something(found) and not digit):
        return False
    symbol = any(char in "!@#$%^&*?~+" for char in found[:_LOOK])
    return (
        (letter and digit and byte_length(found) > 4)
        or (letter and symbol and byte_length(found) > 5)
        or (digit and not letter and not rule.apart)
    )


_MEANINGS = ("password", "passwd", "token", "secret", "apikey", "api_key", "api-key", "credential")


def _names_something(found: str) -> bool:
    """Whether `found` talks of secrets rather than being one: `new_password`, `API_TOKEN_V2`."""
    lower = lowered(found[:_LOOK])
    digits = sum(char in DIGITS for char in lower)
    return digits < 3 and any(meaning in lower for meaning in _MEANINGS)


_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")


def _is_path(found: str) -> bool:
    """Whether `found` is code: `settings.auth.key2`."""
    return _PATH.fullmatch(found[:_LOOK]) is not None


_TYPE = re.compile(
    "(?:u|i|f|x|v|b|uint|int|float|bytes|utf|sha|md|base|char|varchar|nvarchar|string|str|vec)[0-9]{1,3}"
)


def _is_type(found: str) -> bool:
    return _TYPE.fullmatch(lowered(found).removesuffix("array")) is not None if byte_length(found) <= 16 else False


_WORDY = re.compile("(?:[A-Za-z]*[0-9]{0,3}[_./:=+~-])*[A-Za-z]*[0-9]{0,3}")


def _is_random(found: str) -> bool:
    """Whether `found`, eight characters at least, is no word and no words joined by signs, such as `oauth2-proxy`."""
    look = found[:_LOOK].rstrip("=")  # the padding of base64
    lower, upper, digit = classes(look)
    if len(look) < 8 or not (lower or upper):
        return False
    if _WORDY.fullmatch(look):
        return len(look) >= 20 and lower and upper and all(char in ALNUM for char in look)
    return digit or (len(look) >= 20 and lower and upper)
