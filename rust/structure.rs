//! Shape of the user's ask: lines, code, questions, lists, stack traces. One pass over its lines.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memmem};

use crate::chars::trim_bytes;

/// A line, trimmed, that begins so is code even outside a fence; as is one that ends with `;`, `{`, `}`, `):` or `->`.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Structure {
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
}

/// Structure of `text`, and its prose: what is outside code fences, lines joined by a line end. A fence is a line that
/// begins, after white space, with three or more \` or ~; it closes with a line of at least as many of the same and nothing
/// else, or at the end of the text.
#[must_use]
pub fn measure(text: &str) -> (Structure, Cow<'_, str>) {
    let bytes = text.as_bytes();
    let mut shape = Structure { bytes: text.len(), ..Structure::default() };
    count_characters(bytes, &mut shape);
    let mut prose = Prose { text, before: None, run: None };
    let has_backticks = memchr(b'`', bytes).is_some();
    let (mut fence, mut start): (&[u8], usize) = (b"", 0);
    for end in memchr_iter(b'\n', bytes).chain([bytes.len()]) {
        let line = trim_bytes(bytes.get(start..end).unwrap_or_default());
        let may_be =
            line.first().map_or(0, |&first| LINE_STARTS.get(usize::from(first)).copied().unwrap_or(0));
        shape.lines += 1;
        if start == end && fence.is_empty() {
            prose.add(start, end);
            start = end + 1;
            continue; // text of nothing but line ends has very many lines
        }
        shape.stack_lines += usize::from(may_be & TRACE != 0 && is_trace_line(line));
        let mark = if may_be & FENCE == 0 { b"" } else { fence_mark(line) };
        if !fence.is_empty() {
            if closes(line, mark, fence) {
                fence = b"";
            } else {
                shape.code_lines += 1;
            }
        } else if !mark.is_empty() {
            fence = mark;
            shape.fences += 1;
            prose.end_run();
        } else {
            prose.add(start, end);
            shape.list_items += usize::from(may_be & LIST != 0 && is_list_item(line));
            shape.code_lines +=
                usize::from(may_be & CODE != 0 && starts_with_any(line, &CODE_STARTS) || ends_code(line));
            shape.inline_code += if has_backticks { memchr_iter(b'`', line).count() / 2 } else { 0 };
        }
        start = end + 1;
    }
    let prose = if shape.fences == 0 { Cow::Borrowed(text) } else { prose.join() };
    (shape, prose)
}

/// The lines outside fences, gathered as runs of the text: a slice each, not a slice a line.
struct Prose<'a> {
    text: &'a str,
    /// The runs that have ended, joined by line ends.
    before: Option<String>,
    /// Where the present run starts and ends.
    run: Option<(usize, usize)>,
}

impl<'a> Prose<'a> {
    fn add(&mut self, start: usize, end: usize) {
        self.run = Some((self.run.map_or(start, |(start, _)| start), end));
    }

    fn end_run(&mut self) {
        let Some((start, end)) = self.run.take() else { return };
        let run = self.text.get(start..end).unwrap_or_default();
        match &mut self.before {
            Some(before) => before.extend(["\n", run]),
            None => self.before = Some(run.to_owned()),
        }
    }

    fn join(mut self) -> Cow<'a, str> {
        self.end_run();
        Cow::Owned(self.before.unwrap_or_default())
    }
}

/// Over bytes: white space, digits and the like are ASCII, and no byte of a longer character is.
fn count_characters(bytes: &[u8], shape: &mut Structure) {
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

/// What a line may be, going by its first byte. Most lines of a text are ruled out by it, and hostile texts have very many.
static LINE_STARTS: [u8; 256] = line_starts();
const FENCE: u8 = 1;
const LIST: u8 = 2;
const TRACE: u8 = 4;
const CODE: u8 = 8;

const fn line_starts() -> [u8; 256] {
    let mut starts = [0; 256];
    let mut rest: &mut [u8] = &mut starts;
    let mut byte = 0;
    while let Some((start, after)) = rest.split_first_mut() {
        *start = match byte {
            b'`' | b'~' => FENCE,
            b'-' | b'*' | b'+' | b'0'..=b'9' => LIST,
            _ => 0,
        };
        if begins_one(byte, &TRACE_STARTS) || byte == b'a' || byte == b'F' {
            *start |= TRACE;
        }
        if begins_one(byte, &CODE_STARTS) {
            *start |= CODE;
        }
        rest = after;
        byte = byte.wrapping_add(1);
    }
    starts
}

const fn begins_one(byte: u8, mut starts: &[&str]) -> bool {
    while let Some((start, after)) = starts.split_first() {
        if let Some(&first) = start.as_bytes().first()
            && first == byte
        {
            return true;
        }
        starts = after;
    }
    false
}

/// The opening fence of `line` (its run of three or more \` or ~), or nothing.
fn fence_mark(line: &[u8]) -> &[u8] {
    let first = line.first();
    let run = line.iter().take_while(|&byte| Some(byte) == first).count();
    if run < 3 { b"" } else { line.get(..run).unwrap_or_default() }
}

/// `mark` is the run that `line` begins with.
fn closes(line: &[u8], mark: &[u8], fence: &[u8]) -> bool {
    mark.len() == line.len() && mark.len() >= fence.len() && mark.first() == fence.first()
}

fn ends_code(line: &[u8]) -> bool {
    matches!(line, [.., b';' | b'{' | b'}'] | [.., b')', b':'] | [.., b'-', b'>'])
}

fn starts_with_any(line: &[u8], starts: &[&str]) -> bool {
    starts.iter().any(|start| line.starts_with(start.as_bytes()))
}

/// `- x`, `* x`, `+ x`, `12. x`, `12) x` (one to three ASCII digits).
fn is_list_item(line: &[u8]) -> bool {
    let digits = line.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let marked = match digits {
        0 => matches!(line, [b'-' | b'*' | b'+', ..]),
        1..=3 => matches!(line.get(digits), Some(b'.' | b')')),
        _ => false,
    };
    marked && line.get(digits + 1) == Some(&b' ')
}

fn is_trace_line(line: &[u8]) -> bool {
    if starts_with_any(line, &TRACE_STARTS) {
        return true;
    }
    match line.first() {
        Some(b'a') => line.starts_with(b"at ") && line.ends_with(b")") && memchr(b'(', line).is_some(),
        Some(b'F') => line.starts_with(b"File \"") && memmem::find(line, b"\", line ").is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Structure {
        measure(text).0
    }

    #[test]
    fn counts_characters_and_words() {
        let shape = shape("Zwei Äpfel, 3 、 oder？\r\n\tnicht? ");
        assert_eq!((shape.lines, shape.words, shape.digits, shape.commas, shape.questions), (2, 6, 1, 2, 2));
        assert_eq!(shape.non_ascii, 3);
        assert_eq!(shape.bytes, "Zwei Äpfel, 3 、 oder？\r\n\tnicht? ".len());
        assert_eq!(measure("").0, Structure { lines: 1, ..Structure::default() });
    }

    #[test]
    fn fences() {
        let (shape, prose) = measure("a\n```rust\nfn x() {}\n``\n~~~\n````\nb\n  ~~~~\nc\n~~~\nd");
        assert_eq!((shape.fences, shape.code_lines), (2, 6));
        assert_eq!(prose, "a\nb");
        let (unclosed, prose) = measure("```\nx\n");
        assert_eq!((unclosed.fences, unclosed.code_lines, prose.as_ref()), (1, 2, ""));
        assert_eq!(measure("``\nx").0.fences, 0);
        assert!(matches!(measure("no fence\n").1, Cow::Borrowed("no fence\n")));
    }

    #[test]
    fn code_outside_fences() {
        let shape =
            shape("  def f(x):\nclasses are fun\nint x = 3;\n}\nplain (see):\nuse `a`, `b` and ` alone");
        assert_eq!((shape.code_lines, shape.inline_code), (4, 2));
    }

    #[test]
    fn list_items() {
        assert_eq!(shape("- a\n * b\n+ c\n1. d\n123) e").list_items, 5);
        assert_eq!(shape("-a\n1.x\n1234. y\n1 z\n*").list_items, 0);
        assert_eq!(shape("```\n- a\n```").list_items, 0);
    }

    #[test]
    fn stack_traces() {
        let python = "Traceback (most recent call last):\n  File \"a.py\", line 3, in f\n    g()";
        assert_eq!(shape(python).stack_lines, 2);
        let java = "Exception in thread \"main\" X\n\tat a.b(C.java:1)\n\tat a.b(C.java:2\nat home";
        assert_eq!(shape(java).stack_lines, 2);
        assert_eq!(shape("```\npanic: no\n```").stack_lines, 1, "inside a fence, too");
        assert_eq!(shape("File \", line 1").stack_lines, 1);
    }

    #[test]
    fn hostile_texts_end() {
        for unit in ["`", "`\n", "~~~~\n", "```\n", " ", "\n", "?", "1. ", "é", "File \""] {
            let text = unit.repeat(1_000_000 / unit.len());
            assert_eq!(shape(&text).bytes, text.len());
        }
    }
}
