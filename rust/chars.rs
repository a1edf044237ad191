//! Character rules shared by every measurement: folding, word characters, white space.
//!
//! The ranges are spelled out, so that this crate and every Python version agree: Unicode tables differ by version.

use std::borrow::Cow;
use std::sync::LazyLock;

type Ranges = [(char, char)];

/// Folded to one plain space, so that a keyword of several words matches across line ends and exotic spaces.
const SPACES: &Ranges = &[
    ('\x09', '\x0d'),
    ('\u{85}', '\u{85}'),
    ('\u{a0}', '\u{a0}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{2028}', '\u{2029}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
];

/// Blocks above ASCII whose case pairs are complete and frozen: Latin, Greek, Cyrillic, Armenian, their extensions,
/// full-width Latin.
const CASED: &Ranges = &[('\u{c0}', '\u{58f}'), ('\u{1e00}', '\u{1fff}'), ('\u{ff21}', '\u{ff3a}')];

/// Punctuation and symbols above ASCII: they end a word.
const SEPARATORS: &Ranges = &[
    ('\u{80}', '\u{a9}'),
    ('\u{ab}', '\u{b4}'),
    ('\u{b6}', '\u{b9}'),
    ('\u{bb}', '\u{bf}'),
    ('\u{d7}', '\u{d7}'),
    ('\u{f7}', '\u{f7}'),
    ('\u{2000}', '\u{2bff}'),
    ('\u{2e00}', '\u{2e7f}'),
    ('\u{3000}', '\u{303f}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fe10}', '\u{fe6f}'),
    ('\u{ff00}', '\u{ff0f}'),
    ('\u{ff1a}', '\u{ff20}'),
    ('\u{ff3b}', '\u{ff40}'),
    ('\u{ff5b}', '\u{ff65}'),
    ('\u{ffe0}', '\u{ffff}'),
    ('\u{1f000}', '\u{1faff}'),
];

/// Scripts written without spaces (Thai, Lao, Myanmar, Khmer, kana, Han) or with particles glued on (Hangul): a keyword
/// may begin or end anywhere in them.
const UNSPACED: &Ranges = &[
    ('\u{0e00}', '\u{0eff}'),
    ('\u{1000}', '\u{109f}'),
    ('\u{1100}', '\u{11ff}'),
    ('\u{1780}', '\u{17ff}'),
    ('\u{2e80}', '\u{2fdf}'),
    ('\u{3040}', '\u{31ff}'),
    ('\u{3400}', '\u{4dbf}'),
    ('\u{4e00}', '\u{9fff}'),
    ('\u{ac00}', '\u{d7af}'),
    ('\u{f900}', '\u{faff}'),
    ('\u{ff66}', '\u{ff9f}'),
    ('\u{20000}', '\u{3ffff}'),
];

/// `text` without white space at its ends: space, tab, line ends. Other Unicode spaces count only in [`fold`].
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c| matches!(c, ' ' | '\t' | '\r' | '\n'))
}

/// As [`trim`], over bytes of UTF-8.
#[must_use]
pub fn trim_bytes(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

/// Lower-cases `text` one character for one character, and makes every kind of space a plain one.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        let folded =
            text.bytes().map(|byte| if is_ascii_space(byte) { b' ' } else { byte.to_ascii_lowercase() });
        return String::from_utf8(folded.collect()).unwrap_or_default();
    }
    text.chars().map(fold_char).collect()
}

fn is_ascii_space(byte: u8) -> bool {
    matches!(byte, 0x09..=0x0d)
}

/// As [`fold`], of one character.
#[must_use]
pub fn fold_char(c: char) -> char {
    FOLDED.get(c as usize).copied().unwrap_or_else(|| fold_any(c))
}

/// The characters of the blocks that come first, folded: most of what is not ASCII and has a case.
static FOLDED: LazyLock<Vec<char>> = LazyLock::new(|| ('\0'..'\u{590}').map(fold_any).collect());

fn fold_any(c: char) -> char {
    match c {
        '\x09'..='\x0d' => ' ',
        '\0'..='\x7f' => c.to_ascii_lowercase(),
        '\u{130}' => 'i', // İ lower-cases to two characters; offsets stay simple with one
        'ς' => 'σ',
        _ if within(c, SPACES) => ' ',
        _ if within(c, CASED) => {
            let mut lower = c.to_lowercase();
            match (lower.next(), lower.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        }
        _ => c,
    }
}

/// Whether `c` is part of a word in a script that puts spaces between words.
#[must_use]
pub fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    // Between the first and the second of these there are letters only.
    ('\u{f8}'..'\u{e00}').contains(&c) || !within(c, SEPARATORS) && !is_unspaced(c)
}

/// Whether `c` belongs to a script that is written without spaces.
#[must_use]
pub fn is_unspaced(c: char) -> bool {
    c >= '\u{e00}' && within(c, UNSPACED)
}

/// The text of a UTF-8 sequence in which lone surrogates may stand (Python's `surrogatepass`), each of them replaced by
/// one U+FFFD, as is any other byte sequence that is not UTF-8.
#[must_use]
pub fn clean(bytes: &[u8]) -> Cow<'_, str> {
    let mut text = String::new();
    let mut rest = bytes;
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(valid) if text.is_empty() => return Cow::Borrowed(valid),
            Ok(valid) => return Cow::Owned(text + valid),
            Err(error) => error,
        };
        let (valid, invalid) = rest.split_at(error.valid_up_to());
        text.push_str(&String::from_utf8_lossy(valid));
        text.push(char::REPLACEMENT_CHARACTER);
        let skipped = match invalid {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            _ => error.error_len().unwrap_or(invalid.len()),
        };
        rest = invalid.get(skipped..).unwrap_or_default();
    }
}

/// The first `head` and the last `tail` characters of a longer text, with a line end between them, so that nothing is made
/// of two halves.
#[must_use]
pub fn ends(text: &str, head: usize, tail: usize) -> Cow<'_, str> {
    if text.len() <= head + tail {
        return Cow::Borrowed(text); // a character is a byte or more
    }
    let is_ascii = |bytes: Option<&[u8]>| bytes.is_some_and(<[u8]>::is_ascii);
    let tail_at = text.len() - tail;
    let head_end = if is_ascii(text.as_bytes().get(..head)) {
        Some(head)
    } else {
        text.char_indices().nth(head).map(|(at, _)| at)
    };
    let tail_start = if is_ascii(text.as_bytes().get(tail_at..)) {
        Some(tail_at)
    } else {
        text.char_indices().rev().nth(tail - 1).map(|(at, _)| at)
    };
    match (head_end, tail_start) {
        (Some(head_end), Some(tail_start)) if head_end < tail_start => {
            let (head, tail) = (text.get(..head_end), text.get(tail_start..));
            Cow::Owned([head.unwrap_or_default(), "\n", tail.unwrap_or_default()].concat())
        }
        _ => Cow::Borrowed(text),
    }
}

/// `ranges` ascend.
fn within(c: char, ranges: &Ranges) -> bool {
    let after = ranges.partition_point(|&(low, _)| low <= c);
    ranges.get(..after).and_then(<[_]>::last).is_some_and(|&(_, high)| c <= high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_one_for_one() {
        assert_eq!(fold("ÀÉ Straße\tΣΑΣ ς İ Ю Ա\u{3000}Ａ\r\n"), "àé straße σασ σ i ю ա ａ  ");
        let all: String = ('\0'..=char::MAX).collect();
        assert_eq!(fold(&all).chars().count(), all.chars().count());
        assert_eq!(fold(&fold(&all)), fold(&all), "folding twice changes nothing");
        assert!(all.chars().all(|c| fold_char(c) == fold_any(c)));
        let ascii: String = ('\0'..='\x7f').collect();
        assert_eq!(fold(&ascii), ascii.chars().map(fold_char).collect::<String>());
    }

    #[test]
    fn leaves_blocks_with_growing_case_tables_alone() {
        // Latin Extended-D, Cherokee, Deseret, the Kelvin sign.
        let text = "\u{a7ca}\u{13a0}\u{10400}\u{212a}";
        assert_eq!(fold(text), text);
    }

    #[test]
    fn knows_words_of_spaced_scripts() {
        for c in "az09_éßжάאعक".chars() {
            assert!(is_word(c), "{c}");
        }
        for c in " -*'\u{a0}«—“。中のกᄀ가😀\u{e000}".chars() {
            assert!(!is_word(c), "{c}");
        }
    }

    #[test]
    fn letters_between_separators_and_unspaced_scripts() {
        for c in '\0'..=char::MAX {
            let separates =
                if c.is_ascii() { !c.is_ascii_alphanumeric() && c != '_' } else { within(c, SEPARATORS) };
            assert_eq!(is_word(c), !separates && !within(c, UNSPACED), "{c:?}");
        }
    }

    #[test]
    fn ends_are_counted_in_characters() {
        for (head, tail) in [("é", "ü"), ("a", "ü"), ("é", "b"), ("a", "b")] {
            let exactly = head.repeat(5) + &tail.repeat(3);
            assert_eq!(ends(&exactly, 5, 3), exactly);
            for middle in ["x", "中x", "中", "xyz"] {
                let over = [&head.repeat(5), middle, &tail.repeat(3)].concat();
                assert_eq!(ends(&over, 5, 3), over.replace(middle, "\n"), "{over}");
            }
        }
        assert_eq!(ends("short", 5, 3), "short");
    }

    #[test]
    fn ranges_ascend() {
        for ranges in [SPACES, CASED, SEPARATORS, UNSPACED] {
            assert!(ranges.iter().all(|(low, high)| low <= high));
            assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    #[test]
    fn replaces_each_lone_surrogate_once() {
        assert!(matches!(clean("plain é".as_bytes()), Cow::Borrowed("plain é")));
        // "a", U+D83D, U+DE00, "b": two lone surrogates, even where they would make a pair.
        assert_eq!(clean(b"a\xed\xa0\xbd\xed\xb8\x80b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(clean(b"\xed\x9f\xbf\xed\xa0\x80"), "\u{d7ff}\u{fffd}");
        assert_eq!(clean(b"\xff\xed\xa0"), "\u{fffd}\u{fffd}\u{fffd}");
    }
}
