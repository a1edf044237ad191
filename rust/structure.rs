//! Shape of the user's ask: lines, code, questions, lists, stack traces. One pass over its lines.

use std::borrow::Cow;

use memchr::{memchr_iter, memmem};

use crate::chars::trim;

/// A line, trimmed, that begins so is code even outside a fence.
const CODE_STARTS: [&str; 23] = [
    "def ",
    "class ",
    "import ",
    "from ",
    "func ",
    "fn ",
    "function ",
    "const ",
    "let ",
    "var ",
    "public ",
    "private ",
    "static ",
    "struct ",
    "impl ",
    "#include",
    "package ",
    "return ",
    "async def ",
    "SELECT ",
    "CREATE ",
    "@Override",
    "#!/",
];
const CODE_ENDS: [&str; 6] = [";", "{", "}", "};", "):", "->"];
/// A line, trimmed, that begins so belongs to a stack trace.
const TRACE_STARTS: [&str; 8] = [
    "Traceback (most recent call last)",
    "Exception in thread",
    "Caused by: ",
    "panic: ",
    "goroutine ",
    "Unhandled exception",
    "stack backtrace:",
    "thread '",
];

/// Counts over one text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Structure<'a> {
    /// Bytes of UTF-8.
    pub bytes: usize,
    /// Lines; an empty text is one.
    pub lines: usize,
    /// Runs of anything but space, tab and line ends.
    pub words: usize,
    /// ASCII digits.
    pub digits: usize,
    /// Commas of several scripts.
    pub commas: usize,
    /// Characters above ASCII.
    pub non_ascii: usize,
    /// Question marks of several scripts.
    pub questions: usize,
    /// Lines outside fences that begin as a list item does.
    pub list_items: usize,
    /// Code fences.
    pub fences: usize,
    /// Lines inside fences, and lines outside that look like code.
    pub code_lines: usize,
    /// Pairs of backticks on one line outside fences.
    pub inline_code: usize,
    /// Lines of a stack trace.
    pub stack_lines: usize,
    /// The text outside code fences, lines joined by a line end.
    pub prose: Cow<'a, str>,
}

/// Structure of `text`. A fence is a line that begins, after white space, with three or more \` or ~; it closes with a
/// line of at least as many of the same and nothing else, or at the end of the text.
#[must_use]
pub fn measure(text: &str) -> Structure<'_> {
    let mut shape = Structure { bytes: text.len(), ..Structure::default() };
    count_characters(text, &mut shape);
    let mut fence = "";
    let mut prose = Vec::new();
    for raw in text.split('\n') {
        shape.lines += 1;
        let line = trim(raw);
        shape.stack_lines += usize::from(is_trace_line(line));
        if !fence.is_empty() {
            if closes(line, fence) {
                fence = "";
            } else {
                shape.code_lines += 1;
            }
            continue;
        }
        let mark = fence_mark(line);
        if !mark.is_empty() {
            fence = mark;
            shape.fences += 1;
            continue;
        }
        prose.push(raw);
        shape.inline_code += memchr_iter(b'`', line.as_bytes()).count() / 2;
        shape.list_items += usize::from(is_list_item(line));
        shape.code_lines += usize::from(is_code_line(line));
    }
    shape.prose = if shape.fences == 0 { Cow::Borrowed(text) } else { Cow::Owned(prose.join("\n")) };
    shape
}

/// Over bytes: white space, digits and the like are ASCII, and no byte of a longer character is.
fn count_characters(text: &str, shape: &mut Structure<'_>) {
    let bytes = text.as_bytes();
    let after = bytes.get(1..).unwrap_or_default();
    let starts_text = usize::from(bytes.first().is_some_and(|&byte| !is_white(byte)));
    shape.words = starts_text + count(bytes, after, |byte, next| is_white(byte) & !is_white(next));
    shape.digits = count(bytes, bytes, |byte, _| byte.is_ascii_digit());
    shape.commas = memchr_iter(b',', bytes).count();
    shape.questions = memchr_iter(b'?', bytes).count();
    shape.non_ascii = count(bytes, bytes, |byte, _| byte >= 0xc0); // first bytes of longer characters
    if shape.non_ascii > 0 {
        let occurrences = |mark: &str| memmem::find_iter(bytes, mark).count();
        shape.commas += occurrences("，") + occurrences("、");
        shape.questions += occurrences("？") + occurrences("؟");
    }
}

/// Pairs of bytes at the same place that are `wanted`. Adds up in bytes, which the compiler turns into vector code.
fn count(left: &[u8], right: &[u8], wanted: impl Fn(u8, u8) -> bool) -> usize {
    const MOST: usize = u8::MAX as usize;
    let pairs =
        |left: &[u8], right: &[u8]| left.iter().zip(right).map(|(&l, &r)| u8::from(wanted(l, r))).sum::<u8>();
    left.chunks(MOST).zip(right.chunks(MOST)).map(|(left, right)| usize::from(pairs(left, right))).sum()
}

fn is_white(byte: u8) -> bool {
    (byte == b' ') | (byte == b'\t') | (byte == b'\r') | (byte == b'\n')
}

/// The opening fence of `line` (its run of three or more \` or ~), or an empty string.
fn fence_mark(line: &str) -> &str {
    let Some(mark @ ('`' | '~')) = line.chars().next() else { return "" };
    let run = line.len() - line.trim_start_matches(mark).len();
    if run < 3 { "" } else { line.get(..run).unwrap_or_default() }
}

fn closes(line: &str, fence: &str) -> bool {
    fence.chars().next().is_some_and(|mark| line.starts_with(fence) && line.trim_matches(mark).is_empty())
}

fn is_code_line(line: &str) -> bool {
    let may_end = matches!(line.as_bytes().last(), Some(b';' | b'{' | b'}' | b':' | b'>'));
    starts_with_any(line, &CODE_STARTS) || may_end && CODE_ENDS.iter().any(|end| line.ends_with(end))
}

/// Compares first bytes first: nearly every line is told apart by them, and hostile texts have very many lines.
fn starts_with_any(line: &str, starts: &[&str]) -> bool {
    let first = line.as_bytes().first();
    starts.iter().any(|start| start.as_bytes().first() == first && line.starts_with(start))
}

/// `- x`, `* x`, `+ x`, `12. x`, `12) x` (one to three ASCII digits).
fn is_list_item(line: &str) -> bool {
    let bytes = line.as_bytes();
    let digits = bytes.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let marked = match digits {
        0 => matches!(bytes, [b'-' | b'*' | b'+', ..]),
        1..=3 => matches!(bytes.get(digits), Some(b'.' | b')')),
        _ => false,
    };
    marked && bytes.get(digits + 1) == Some(&b' ')
}

fn is_trace_line(line: &str) -> bool {
    if starts_with_any(line, &TRACE_STARTS) {
        return true;
    }
    match line.as_bytes().first() {
        Some(b'a') => line.starts_with("at ") && line.ends_with(')') && line.contains('('),
        Some(b'F') => line.starts_with("File \"") && memmem::find(line.as_bytes(), b"\", line ").is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_characters_and_words() {
        let shape = measure("Zwei Äpfel, 3 、 oder？\r\n\tnicht? ");
        assert_eq!((shape.lines, shape.words, shape.digits, shape.commas, shape.questions), (2, 6, 1, 2, 2));
        assert_eq!(shape.non_ascii, 3);
        assert_eq!(shape.bytes, "Zwei Äpfel, 3 、 oder？\r\n\tnicht? ".len());
        assert_eq!(measure(""), Structure { lines: 1, ..Structure::default() });
    }

    #[test]
    fn fences() {
        let shape = measure("a\n```rust\nfn x() {}\n``\n~~~\n````\nb\n  ~~~~\nc\n~~~\nd");
        assert_eq!((shape.fences, shape.code_lines), (2, 6));
        assert_eq!(shape.prose, "a\nb");
        let unclosed = measure("```\nx\n");
        assert_eq!((unclosed.fences, unclosed.code_lines, unclosed.prose.as_ref()), (1, 2, ""));
        assert_eq!(measure("``\nx").fences, 0);
        assert!(matches!(measure("no fence\n").prose, Cow::Borrowed("no fence\n")));
    }

    #[test]
    fn code_outside_fences() {
        let shape =
            measure("  def f(x):\nclasses are fun\nint x = 3;\n}\nplain (see):\nuse `a`, `b` and ` alone");
        assert_eq!((shape.code_lines, shape.inline_code), (4, 2));
    }

    #[test]
    fn list_items() {
        assert_eq!(measure("- a\n * b\n+ c\n1. d\n123) e").list_items, 5);
        assert_eq!(measure("-a\n1.x\n1234. y\n1 z\n*").list_items, 0);
        assert_eq!(measure("```\n- a\n```").list_items, 0);
    }

    #[test]
    fn stack_traces() {
        let python = "Traceback (most recent call last):\n  File \"a.py\", line 3, in f\n    g()";
        assert_eq!(measure(python).stack_lines, 2);
        let java = "Exception in thread \"main\" X\n\tat a.b(C.java:1)\n\tat a.b(C.java:2\nat home";
        assert_eq!(measure(java).stack_lines, 2);
        assert_eq!(measure("```\npanic: no\n```").stack_lines, 1, "inside a fence, too");
        assert_eq!(measure("File \", line 1").stack_lines, 1);
    }

    #[test]
    fn hostile_texts_end() {
        for unit in ["`", "`\n", "~~~~\n", "```\n", " ", "\n", "?", "1. ", "é", "File \""] {
            let text = unit.repeat(1_000_000 / unit.len());
            assert_eq!(measure(&text).bytes, text.len());
        }
    }
}
