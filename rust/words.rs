//! The words of an ask: hashed for the learned model, and counted for the feature vector, in one pass.
//!
//! A term is a run of word characters, one character of a script without spaces, a run of other visible characters, or a
//! line end. Case is folded. In the order of the terms a number stands for all of its length: what matters is that there
//! is one, not which; which one it is counts beside it. Terms and pairs of neighbours fall by their hash into
//! [`WORD_BUCKETS`] buckets, each of which counts once.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::chars::{ends, fold_char, is_unspaced, is_word};

const BITS: u32 = 17;
/// How many buckets there are for terms and pairs of terms.
pub const WORD_BUCKETS: usize = 1 << BITS;
/// Of a longer ask only so many characters at its beginning are looked at.
pub const WORD_HEAD: usize = 4096;
/// And so many at its end.
pub const WORD_TAIL: usize = 2048;
/// Groups of words in the vocabulary.
pub const GROUPS: usize = 8;
/// Characters from which on a word is a long one.
const LONG_WORD: usize = 8;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325; // FNV-1a, 64 bits
const PRIME: u64 = 0x0000_0100_0000_01b3;
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15; // odd, close to 2^64 divided by the golden ratio: spreads what it multiplies

const LINE_END: u64 = hash(b"\n");
/// What numbers of one, two, three and more digits count as.
const NUMBERS: [u64; 4] = [hash(b"#1"), hash(b"#2"), hash(b"#3"), hash(b"#4")];

/// Counts over one text. No more characters are looked at than 16 bits can count, nor three buckets for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WordCounts {
    /// Terms.
    pub terms: u16,
    /// Different buckets.
    pub distinct: u16,
    /// Terms of nothing but ASCII digits.
    pub numbers: u16,
    /// Capitalized words right after a word or a comma.
    pub names: u16,
    /// Words of eight characters or more.
    pub long_words: u16,
    /// Characters of words that folding changes.
    pub uppercase: u16,
    /// Any of `\$^=+*/<>{}|`.
    pub symbols: u16,
    /// Straight quotation marks, single and double.
    pub quotes: u16,
    /// Opening round and square brackets.
    pub brackets: u16,
    /// Lines that begin as an answer to choose does: `A.`, `(b)`.
    pub options: u16,
    /// Words of each group of the vocabulary.
    pub groups: [u16; GROUPS],
}

/// The words of `text`. Calls `meet` with each bucket when it is first met.
pub fn words(text: &str, meet: impl FnMut(u32)) -> WordCounts {
    let text = ends(text, WORD_HEAD, WORD_TAIL);
    let mut pass = Pass {
        text: &text,
        meet,
        vocabulary: &VOCABULARY,
        met: [0; WORD_BUCKETS / 64],
        counts: WordCounts { options: u16::from(is_option(text.as_bytes())), ..WordCounts::default() },
        before: None,
        joins: false,
    };
    pass.run();
    pass.counts
}

/// The groups of words, by name, in the order of [`WordCounts::groups`].
pub fn vocabulary() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    let lines = include_str!("../python/bsgateway/data/vocabulary.txt").lines();
    let groups = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
    groups.map(|(name, words)| (name, words.split_ascii_whitespace()))
}

/// A word's hash -> the groups it is of, one bit each.
static VOCABULARY: LazyLock<FxHashMap<u64, u8>> = LazyLock::new(|| {
    let mut groups = FxHashMap::default();
    for (at, (_, words)) in vocabulary().enumerate() {
        for word in words {
            *groups.entry(hash(word.as_bytes())).or_default() |= 1 << at;
        }
    }
    groups
});

struct Pass<'a, F> {
    text: &'a str,
    meet: F,
    vocabulary: &'static FxHashMap<u64, u8>,
    /// A bit for each bucket.
    met: [u64; WORD_BUCKETS / 64],
    counts: WordCounts,
    /// The hash of the term before.
    before: Option<u64>,
    /// Whether a capital that follows may begin a name.
    joins: bool,
}

impl<F: FnMut(u32)> Pass<'_, F> {
    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let flags = flags(byte);
            at = if flags & SPACE != 0 {
                at + 1
            } else if flags & WORD != 0 {
                self.word(at)
            } else if flags & OTHER != 0 {
                self.other(at)
            } else if flags & LONGER != 0 {
                self.longer(at)
            } else {
                self.line_end(at)
            }
        }
    }

    /// What begins with a character above ASCII.
    fn longer(&mut self, at: usize) -> usize {
        let Some(c) = self.char_at(at) else { return at + 1 };
        match kind(c) {
            WORD => self.word(at),
            OTHER => self.other(at),
            SPACE => at + c.len_utf8(),
            _ => {
                self.term(hash_char(OFFSET, fold_char(c)), false);
                at + c.len_utf8()
            }
        }
    }

    fn line_end(&mut self, at: usize) -> usize {
        self.term(LINE_END, false);
        self.counts.options += u16::from(is_option(self.text.as_bytes().get(at + 1..).unwrap_or_default()));
        at + 1
    }

    fn word(&mut self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let (mut end, mut hash, mut chars, mut all, mut capitals) = (start, OFFSET, 0, DIGIT, 0);
        while let Some(&byte) = bytes.get(end) {
            let flags = flags(byte);
            if flags & WORD != 0 {
                let upper = flags & UPPER;
                hash = (hash ^ u64::from(byte | upper)).wrapping_mul(PRIME);
                capitals += u16::from(upper != 0);
                end += 1;
            } else if let Some(c) = self.longer_of(WORD, flags, end) {
                let folded = fold_char(c);
                hash = hash_char(hash, folded);
                capitals += u16::from(folded != c);
                end += c.len_utf8();
            } else {
                break;
            }
            all &= flags;
            chars += 1;
        }
        if all == DIGIT {
            self.number(hash, chars);
            return end;
        }
        self.counts.uppercase += capitals;
        self.counts.long_words += u16::from(chars >= LONG_WORD);
        self.counts.names += u16::from(self.joins && self.is_capitalized(start, end));
        if let Some(&groups) = self.vocabulary.get(&hash) {
            for (at, count) in self.counts.groups.iter_mut().enumerate() {
                *count += u16::from(groups >> at & 1);
            }
        }
        self.term(hash, true);
        end
    }

    /// Whether the first of at least two characters is a capital, and the second is not.
    fn is_capitalized(&self, start: usize, end: usize) -> bool {
        let mut capitals = self.text.get(start..end).unwrap_or_default().chars().map(|c| fold_char(c) != c);
        capitals.next() == Some(true) && capitals.next() == Some(false)
    }

    fn number(&mut self, hash: u64, digits: usize) {
        self.counts.numbers += 1;
        let class = NUMBERS.get(digits - 1).or(NUMBERS.last()).copied().unwrap_or_default();
        self.meet(class);
        self.meet(hash);
        self.term(class, false);
    }

    fn other(&mut self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let (mut end, mut hash) = (start, OFFSET);
        while let Some(&byte) = bytes.get(end) {
            let flags = flags(byte);
            if flags & OTHER != 0 {
                hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
                self.counts.symbols += u16::from(flags & SYMBOL != 0);
                self.counts.quotes += u16::from(flags & QUOTE != 0);
                self.counts.brackets += u16::from(flags & BRACKET != 0);
                end += 1;
            } else if let Some(c) = self.longer_of(OTHER, flags, end) {
                hash = hash_char(hash, fold_char(c));
                end += c.len_utf8();
            } else {
                break;
            }
        }
        self.term(hash, bytes.get(start..end) == Some(b","));
        end
    }

    /// `joins`: whether a capital after it may begin a name.
    fn term(&mut self, hash: u64, joins: bool) {
        self.counts.terms += 1;
        self.meet(hash);
        if let Some(before) = self.before {
            self.meet(before.wrapping_mul(PRIME) ^ hash);
        }
        (self.before, self.joins) = (Some(hash), joins);
    }

    fn meet(&mut self, hash: u64) {
        let bucket = bucket(hash);
        let bit = 1 << (bucket % 64);
        let Some(bits) = self.met.get_mut(bucket as usize / 64) else { return };
        if *bits & bit == 0 {
            *bits |= bit;
            self.counts.distinct += 1;
            (self.meet)(bucket);
        }
    }

    /// The character at `at`, if it is above ASCII, as the flags of its first byte say, and of `wanted` kind.
    fn longer_of(&self, wanted: u8, flags: u8, at: usize) -> Option<char> {
        if flags & LONGER == 0 { None } else { self.char_at(at).filter(|&c| kind(c) == wanted) }
    }

    fn char_at(&self, at: usize) -> Option<char> {
        self.text.get(at..)?.chars().next()
    }
}

// Kinds of characters. A line end is of none.
const SPACE: u8 = 0x01;
const WORD: u8 = 0x02;
const OTHER: u8 = 0x04;
/// One of a script without spaces.
const SINGLE: u8 = 0;
/// The first byte of a character above ASCII, whatever its kind.
const LONGER: u8 = 0x08;
// What more is to be known of a word's character: the bit that a capital lacks, and whether it is a digit.
const UPPER: u8 = 0x20;
const DIGIT: u8 = 0x40;
// And of another one's.
const SYMBOL: u8 = 0x20;
const QUOTE: u8 = 0x40;
const BRACKET: u8 = 0x80;

/// What a byte is.
static FLAGS: [u8; 256] = all_flags();

fn flags(byte: u8) -> u8 {
    FLAGS.get(usize::from(byte)).copied().unwrap_or_default()
}

const fn all_flags() -> [u8; 256] {
    let mut all = [0; 256];
    let mut rest: &mut [u8] = &mut all;
    let mut byte = 0_u8;
    while let Some((flags, after)) = rest.split_first_mut() {
        *flags = match byte {
            b'\n' => 0,
            b' ' | b'\t'..=b'\r' => SPACE,
            b'0'..=b'9' => WORD | DIGIT,
            b'A'..=b'Z' => WORD | UPPER,
            b'a'..=b'z' | b'_' => WORD,
            b'\\' | b'$' | b'^' | b'=' | b'+' | b'*' | b'/' | b'<' | b'>' | b'{' | b'}' | b'|' => {
                OTHER | SYMBOL
            }
            b'"' | b'\'' => OTHER | QUOTE,
            b'(' | b'[' => OTHER | BRACKET,
            0x80.. => LONGER,
            _ => OTHER,
        };
        rest = after;
        byte = byte.wrapping_add(1);
    }
    all
}

/// The kind of a character above ASCII.
fn kind(c: char) -> u8 {
    if is_unspaced(c) {
        SINGLE
    } else if is_word(c) {
        WORD
    } else if fold_char(c) == ' ' {
        SPACE
    } else {
        OTHER
    }
}

/// `A.`, `A)`, `(A)` and the like: one ASCII letter.
fn is_option(line: &[u8]) -> bool {
    let indent = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
    let line = line.get(indent..).unwrap_or_default();
    let line = line.strip_prefix(b"(").unwrap_or(line);
    matches!(line, [letter, b'.' | b')', ..] if letter.is_ascii_alphabetic())
}

const fn hash(mut term: &[u8]) -> u64 {
    let mut hash = OFFSET;
    while let Some((&byte, rest)) = term.split_first() {
        hash = (hash ^ byte as u64).wrapping_mul(PRIME);
        term = rest;
    }
    hash
}

/// `hash` of a term, with one more character.
fn hash_char(hash: u64, c: char) -> u64 {
    let add = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    c.encode_utf8(&mut [0; 4]).bytes().fold(hash, add)
}

fn bucket(hash: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // the upper 17 bits are left
    let bucket = ((hash ^ (hash >> 32)).wrapping_mul(SPREAD) >> (u64::BITS - BITS)) as u32;
    bucket
}

#[cfg(test)]
mod tests;
