//! Pieces of plain ASCII, cut as the encodings' patterns would, without running them: most text is ASCII, and the automaton
//! of a pattern with Unicode classes costs more than all that comes after it.
//!
//! Whatever could depend on a character above ASCII, be it only the next one, is left to the pattern.

/// What sets the patterns of the encodings apart, as far as ASCII goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// o200k_base: a word ends where a capital follows a small letter, and takes a contraction (`'s`, `'ll`) with it.
    O200kBase,
    /// cl100k_base: a contraction is a piece of its own.
    Cl100kBase,
}

use Class::{Digit, End, High, LineEnd, Lower, Mark, Space, Upper};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Upper,
    Lower,
    Digit,
    LineEnd,
    Space,
    /// Any other of ASCII: punctuation, symbols, most control characters.
    Mark,
    /// Not ASCII.
    High,
    /// The end of the text.
    End,
}

static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [High; 256];
    let mut rest: &mut [Class] = &mut classes;
    let mut byte = 0_u8;
    while let Some((class, after)) = rest.split_first_mut() {
        *class = match byte {
            b'A'..=b'Z' => Upper,
            b'a'..=b'z' => Lower,
            b'0'..=b'9' => Digit,
            b'\r' | b'\n' => LineEnd,
            b'\t' | 0x0b | 0x0c | b' ' => Space,
            0x80.. => High,
            _ => Mark,
        };
        rest = after;
        byte = byte.wrapping_add(1);
    }
    classes
}

/// Where the piece that begins at `start` ends; None if the pattern has to say.
pub(crate) fn piece_end(text: &[u8], start: usize, pattern: Pattern) -> Option<usize> {
    let first = class(text, start);
    if pattern == Pattern::Cl100kBase
        && let Some(end) = contraction_end(text, start)?
    {
        return Some(end);
    }
    // A word may begin with one character that is neither letter, digit nor line end.
    let word = match first {
        Upper | Lower => start,
        Space | Mark => start + 1,
        Digit => return digits_end(text, start),
        LineEnd => return white_end(text, start, pattern),
        High | End => return None,
    };
    match class(text, word) {
        Upper | Lower => word_end(text, word, pattern),
        High => None,
        _ if first == Mark => marks_end(text, start, pattern),
        Mark if text.get(start) == Some(&b' ') => marks_end(text, word, pattern),
        _ => white_end(text, start, pattern),
    }
}

fn class(text: &[u8], at: usize) -> Class {
    text.get(at).and_then(|&byte| CLASSES.get(usize::from(byte))).copied().unwrap_or(End)
}

/// The first place from `at` on whose class is not `wanted`; None if it is not ASCII.
fn run_end(text: &[u8], mut at: usize, wanted: impl Fn(Class) -> bool) -> Option<usize> {
    loop {
        match class(text, at) {
            class if wanted(class) => at += 1,
            High => return None,
            _ => return Some(at),
        }
    }
}

fn word_end(text: &[u8], word: usize, pattern: Pattern) -> Option<usize> {
    if pattern == Pattern::Cl100kBase {
        return run_end(text, word, |class| matches!(class, Upper | Lower));
    }
    let small = run_end(text, word, |class| class == Upper)?;
    let end = run_end(text, small, |class| class == Lower)?;
    Some(contraction_end(text, end)?.unwrap_or(end))
}

/// Where the contraction at `at` ends, if one is there. The long s is an s to the pattern, so nothing is said of an
/// apostrophe before what is not ASCII.
#[allow(clippy::option_option)] // unsure, no, yes
fn contraction_end(text: &[u8], at: usize) -> Option<Option<usize>> {
    let Some([b'\'', rest @ ..]) = text.get(at..) else { return Some(None) };
    match rest {
        [0x80..=0xff, ..] => None,
        [b's' | b't' | b'm' | b'd' | b'S' | b'T' | b'M' | b'D', ..] => Some(Some(at + 2)),
        [b'r' | b'v' | b'R' | b'V', b'e' | b'E', ..] | [b'l' | b'L', b'l' | b'L', ..] => Some(Some(at + 3)),
        _ => Some(None),
    }
}

/// At most three digits.
fn digits_end(text: &[u8], start: usize) -> Option<usize> {
    for at in start..start + 3 {
        match class(text, at) {
            Digit => {}
            High => return None,
            _ => return Some(at),
        }
    }
    Some(start + 3)
}

/// Marks from `marks` on, and the line ends after them.
fn marks_end(text: &[u8], marks: usize, pattern: Pattern) -> Option<usize> {
    let end = run_end(text, marks, |class| class == Mark)?;
    let slashes = pattern == Pattern::O200kBase;
    let more = text.get(end..)?.iter();
    Some(end + more.take_while(|&&byte| matches!(byte, b'\r' | b'\n') || slashes && byte == b'/').count())
}

/// White space up to its last line end; without one, all of it at the end of the text, else all but the last character.
fn white_end(text: &[u8], start: usize, pattern: Pattern) -> Option<usize> {
    let end = run_end(text, start, |class| matches!(class, Space | LineEnd))?;
    if end == text.len() && pattern == Pattern::Cl100kBase {
        return Some(end);
    }
    let white = text.get(start..end)?;
    let lines = white.iter().rposition(|byte| matches!(byte, b'\r' | b'\n'));
    Some(match lines {
        Some(last) => start + last + 1,
        None if end == text.len() || white.len() == 1 => end,
        None => end - 1,
    })
}
