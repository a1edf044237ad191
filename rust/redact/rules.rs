//! What the redactor knows by name, `data/redaction.rules`, and how it looks at bytes. The Python twin reads the same file.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// All that [`redact`](super::redact) puts into a text.
pub const REDACTION_PLACEHOLDERS: [&str; 10] =
    [PRIVATE_KEY, API_KEY, TOKEN, PASSWORD, EMAIL, CARD, IBAN, PHONE, IP, CUT];

pub(super) const PRIVATE_KEY: &str = "[PRIVATE_KEY]";
pub(super) const API_KEY: &str = "[API_KEY]";
pub(super) const TOKEN: &str = "[TOKEN]";
pub(super) const PASSWORD: &str = "[PASSWORD]";
pub(super) const EMAIL: &str = "[EMAIL]";
pub(super) const CARD: &str = "[CARD]";
pub(super) const IBAN: &str = "[IBAN]";
pub(super) const PHONE: &str = "[PHONE]";
pub(super) const IP: &str = "[IP]";
pub(super) const CUT: &str = "[CUT]";

static LINES: &str = include_str!("../../python/bsgateway/data/redaction.rules");
pub(super) static RULES: LazyLock<Rules> = LazyLock::new(Rules::read);

/// A part of a text, in bytes, that gives way to a placeholder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) placeholder: &'static str,
}

/// A kind of key that shows itself by how it begins.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) placeholder: &'static str,
    pub(super) prefix: &'static str,
    pub(super) alphabet: Alphabet,
    pub(super) least: usize,
    /// None: no limit.
    pub(super) most: Option<usize>,
    pub(super) look: Look,
}

/// What a key must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Any,
    Mixed,
    Dense,
}

/// How the name of something secret ends. `apart`: a word of its own must begin there.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) placeholder: &'static str,
    pub(super) random: bool,
    pub(super) word: &'static str,
    pub(super) apart: bool,
}

/// The whole file.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) keys: Vec<Key>,
    pub(super) prefixes: Option<AhoCorasick>,
    /// By the last byte of their words.
    names: Vec<Vec<Name>>,
    endings: Vec<&'static str>,
    stops: Vec<&'static str>,
    pub(super) hints: Option<AhoCorasick>,
    pub(super) versions: Option<AhoCorasick>,
    ibans: Vec<(&'static str, usize)>,
}

impl Rules {
    fn read() -> Self {
        let keys: Vec<Key> = lines("key").filter_map(key).collect();
        let mut names: Vec<Vec<Name>> = (0..=u8::MAX).map(|_| Vec::new()).collect();
        for name in lines("name").filter_map(name) {
            let last = name.word.as_bytes().last().copied().unwrap_or_default();
            if let Some(same) = names.get_mut(usize::from(last)) {
                same.push(name);
            }
        }
        let iban = |line: &'static str| line.split_once(' ').and_then(|(c, n)| Some((c, n.parse().ok()?)));
        Self {
            prefixes: AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::DFA))
                .match_kind(MatchKind::LeftmostFirst)
                .build(keys.iter().map(|key| key.prefix))
                .ok(),
            keys,
            names,
            endings: lines("ending").collect(),
            stops: lines("stop").collect(),
            hints: words("hint"),
            versions: words("version"),
            ibans: lines("iban").filter_map(iban).collect(),
        }
    }

    /// Rules whose word ends with `last`.
    pub(super) fn names(&self, last: u8) -> &[Name] {
        self.names.get(usize::from(last)).map_or(&[], Vec::as_slice)
    }

    /// Whether `word`, in any case, may follow the name of a secret.
    pub(super) fn is_ending(&self, word: &[u8]) -> bool {
        self.endings.iter().any(|ending| word.eq_ignore_ascii_case(ending.as_bytes()))
    }

    /// Whether `value`, in any case, is no secret.
    pub(super) fn is_stop(&self, value: &[u8]) -> bool {
        self.stops.iter().any(|stop| value.eq_ignore_ascii_case(stop.as_bytes()))
    }

    /// Characters of an IBAN of the country with these two capitals; 0 if it has none.
    pub(super) fn iban_length(&self, country: &[u8]) -> usize {
        let found = self.ibans.iter().find(|(code, _)| code.as_bytes() == country);
        found.map_or(0, |(_, length)| *length)
    }
}

fn lines(kind: &'static str) -> impl Iterator<Item = &'static str> {
    LINES.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

fn placeholder(kind: &str) -> Option<&'static str> {
    REDACTION_PLACEHOLDERS.into_iter().find(|one| one.trim_matches(['[', ']']) == kind)
}

fn key(line: &'static str) -> Option<Key> {
    let mut fields = line.split(' ');
    let placeholder = placeholder(fields.next()?)?;
    let prefix = fields.next()?;
    let alphabet = Alphabet::named(fields.next()?)?;
    let least = fields.next()?.parse().ok()?;
    let most = fields.next()?.parse().ok().filter(|&most| most > 0);
    let look = match fields.next()? {
        "any" => Look::Any,
        "mixed" => Look::Mixed,
        "dense" => Look::Dense,
        _ => return None,
    };
    Some(Key { placeholder, prefix, alphabet, least, most, look })
}

/// A set of bytes: one bit of `CLASSES`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alphabet(u8);

impl Alphabet {
    fn named(name: &str) -> Option<Self> {
        let names = ["alnum", "upper", "lowerhex", "word", "dotted", "path", "base64"];
        let place = names.into_iter().position(|one| one == name)?;
        Some(Self(1 << place))
    }

    pub(super) fn has(self, byte: u8) -> bool {
        CLASSES.get(usize::from(byte)).is_some_and(|class| class & self.0 != 0)
    }
}

/// The alphabets that each byte is in.
static CLASSES: [u8; 256] = classes_of_bytes();

const fn classes_of_bytes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut rest: &mut [u8] = &mut classes;
    let mut byte = 0_u8;
    while let Some((class, after)) = rest.split_first_mut() {
        let alnum = byte.is_ascii_alphanumeric();
        let word = alnum || matches!(byte, b'_' | b'-');
        *class = alnum as u8
            | ((byte.is_ascii_uppercase() || byte.is_ascii_digit()) as u8) << 1
            | (matches!(byte, b'0'..=b'9' | b'a'..=b'f') as u8) << 2
            | (word as u8) << 3
            | ((word || byte == b'.') as u8) << 4
            | ((word || byte == b'/') as u8) << 5
            | ((word || matches!(byte, b'+' | b'/' | b'=')) as u8) << 6;
        rest = after;
        byte = byte.wrapping_add(1);
    }
    classes
}

fn name(line: &'static str) -> Option<Name> {
    let mut fields = line.split(' ');
    let placeholder = placeholder(fields.next()?)?;
    let random = fields.next()? == "random";
    let word = fields.next()?;
    let stem = word.trim_end_matches('+');
    Some(Name { placeholder, random, word: stem, apart: stem != word })
}

fn words(kind: &'static str) -> Option<AhoCorasick> {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .build(lines(kind))
        .ok()
}

/// The byte at `index`, NUL outside of the text.
pub(super) fn at(text: &[u8], index: usize) -> u8 {
    text.get(index).copied().unwrap_or_default()
}

/// The byte `back` bytes before `index`, NUL outside of the text.
pub(super) fn before(text: &[u8], index: usize, back: usize) -> u8 {
    index.checked_sub(back).map_or(0, |index| at(text, index))
}

/// Bytes `start..end`, none outside of the text.
pub(super) fn part(text: &[u8], start: usize, end: usize) -> &[u8] {
    text.get(start..end.min(text.len())).unwrap_or_default()
}

/// Where the bytes that `accepts` takes end, which begin at `start`, at most `most` of them.
pub(super) fn run(text: &[u8], start: usize, accepts: impl Fn(u8) -> bool, most: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    start + rest.iter().take(most).take_while(|byte| accepts(**byte)).count()
}

pub(super) fn is_alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

pub(super) fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// A letter, a digit, `_` or `-`.
pub(super) fn is_word(byte: u8) -> bool {
    is_alnum(byte) || matches!(byte, b'_' | b'-')
}

/// A letter, a digit or `_`.
pub(super) fn is_name(byte: u8) -> bool {
    is_alnum(byte) || byte == b'_'
}

/// White space of ASCII.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

pub(super) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Whether something may begin at `start`: no letter or digit stands before it, but for `\n` and `%3D`.
pub(super) fn is_free(text: &[u8], start: usize) -> bool {
    match before(text, start, 1) {
        b'n' | b'r' | b't' if before(text, start, 2) == b'\\' => true,
        b'0'..=b'9' | b'A'..=b'F' if before(text, start, 3) == b'%' => true,
        byte => !is_alnum(byte),
    }
}

/// Whether small letters, capitals and digits of ASCII are in `text`.
pub(super) fn classes(text: &[u8]) -> (bool, bool, bool) {
    let has = |wanted: fn(&u8) -> bool| text.iter().any(wanted);
    (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase), has(u8::is_ascii_digit))
}

/// Whether something in `text` was replaced already.
pub(super) fn has_placeholder(text: &[u8]) -> bool {
    memchr::memchr_iter(b'[', text).any(|start| starts_placeholder(text, start))
}

/// Whether a placeholder begins at `start`.
pub(super) fn starts_placeholder(text: &[u8], start: usize) -> bool {
    let rest = text.get(start..).unwrap_or_default();
    rest.starts_with(b"[") && REDACTION_PLACEHOLDERS.iter().any(|one| rest.starts_with(one.as_bytes()))
}
