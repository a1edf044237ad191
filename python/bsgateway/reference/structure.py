"""Shape of the user's ask: lines, code, questions, lists, stack traces. One pass over its lines."""

from __future__ import annotations

from dataclasses import dataclass

from .chars import WHITE, byte_length

# A line, trimmed, that begins so is code even outside a fence.
_CODE_STARTS = (
    "def ", "class ", "import ", "from ", "func ", "fn ", "function ", "const ", "let ", "var ", "public ",
    "private ", "static ", "struct ", "impl ", "#include", "package ", "return ", "async def ", "SELECT ", "CREATE ",
    "@Override", "#!/",
)  # fmt: skip
_CODE_ENDS = (";", "{", "}", "};", "):", "->")
# A line, trimmed, that begins so belongs to a stack trace.
_TRACE_STARTS = (
    "Traceback (most recent call last)", "Exception in thread", "Caused by: ", "panic: ", "goroutine ",
    "Unhandled exception", "stack backtrace:", "thread '",
)  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """Counts over one text. `prose` is the text outside code fences, lines joined by a line end."""

    bytes: int
    lines: int
    words: int
    digits: int
    commas: int
    non_ascii: int
    questions: int
    list_items: int
    fences: int
    code_lines: int
    inline_code: int
    stack_lines: int
    prose: str


def measure(text: str) -> Structure:
    """Structure of `text`.

    A fence is a line that begins, after white space, with three or more ` or ~; it closes with a line of at least as
    many of the same and nothing else, or at the end of the text. Inline code is a pair of backticks on one line outside
    fences. Words are runs of anything but space, tab and line ends.
    """
    fence, fences = "", 0
    code_lines = inline_code = list_items = stack_lines = 0
    prose = []
    lines = text.split("\n")
    for raw in lines:
        line = raw.strip(WHITE)
        stack_lines += _is_trace_line(line)
        if fence:
            if _closes(line, fence):
                fence = ""
            else:
                code_lines += 1
            continue
        if mark := _fence_mark(line):
            fence, fences = mark, fences + 1
            continue
        prose.append(raw)
        inline_code += line.count("`") // 2
        list_items += _is_list_item(line)
        code_lines += line.startswith(_CODE_STARTS) or line.endswith(_CODE_ENDS)
    return Structure(
        bytes=byte_length(text),
        lines=len(lines),
        words=sum(map(bool, text.translate(_TO_SPACE).split(" "))),
        digits=sum(map(text.count, "0123456789")),
        commas=sum(map(text.count, ",，、")),
        non_ascii=0 if text.isascii() else sum(char > "\x7f" for char in text),
        questions=sum(map(text.count, "?？؟")),
        list_items=list_items,
        fences=fences,
        code_lines=code_lines,
        inline_code=inline_code,
        stack_lines=stack_lines,
        prose="\n".join(prose),
    )


_TO_SPACE = {ord(char): " " for char in WHITE}


def _fence_mark(line: str) -> str:
    """The opening fence of `line` (its run of three or more ` or ~), or an empty string."""
    if line[:3] not in ("```", "~~~"):
        return ""
    return line[: len(line) - len(line.lstrip(line[0]))]


def _closes(line: str, fence: str) -> bool:
    return line.startswith(fence) and not line.strip(fence[0])


def _is_list_item(line: str) -> bool:
    """`- x`, `* x`, `+ x`, `12. x`, `12) x` (one to three ASCII digits)."""
    if line[:2] in ("- ", "* ", "+ "):
        return True
    digits = len(line[:4]) - len(line[:4].lstrip("0123456789"))
    return 1 <= digits <= 3 and line[digits : digits + 2] in (". ", ") ")


def _is_trace_line(line: str) -> bool:
    if line.startswith(_TRACE_STARTS):
        return True
    if line.startswith("at "):
        return "(" in line and line.endswith(")")
    return line.startswith('File "') and '", line ' in line
