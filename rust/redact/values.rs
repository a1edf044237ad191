//! Values after a name: where they end, and whether they are secrets or code, templates and prose.

use super::rules::{
    Name, RULES, at, before, classes, has_placeholder, is_alnum, is_blank, is_digit, is_quote, part, run,
};

/// Characters of a value that are looked at.
pub(super) const LOOK: usize = 64;
/// Bytes of UTF-8.
const LONGEST: usize = 8192;

/// A value in a text: what stands between its quotes, if it has any.
#[derive(Clone, Copy)]
pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) quoted: bool,
}

/// Finds where values end, each end once: many names may stand in one long run.
pub(super) struct Values<'t> {
    text: &'t [u8],
    plain_end: Option<usize>,
    variable_end: Option<usize>,
}

impl<'t> Values<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self { text, plain_end: None, variable_end: None }
    }

    /// The value that begins at `start`. Without a closing quote on its line it ends with the line.
    pub(super) fn at(&mut self, start: usize, is_variable: bool) -> Value {
        let text = self.text;
        if at(text, start) == b'\\' && is_quote(at(text, start + 1)) {
            return self.until(start + 2, part(text, start, start + 2));
        }
        let prefix = run(text, start, |byte| b"brBRu".contains(&byte), 2);
        if is_quote(at(text, prefix)) {
            return self.until(prefix + 1, part(text, prefix, prefix + 1));
        }
        let known = if is_variable { &mut self.variable_end } else { &mut self.plain_end };
        let end = match *known {
            Some(end) if end >= start => end,
            _ if is_variable => run(text, start, |byte| !is_blank(byte) && !is_quote(byte), usize::MAX),
            _ => run(text, start, |byte| !ends_plain(byte), usize::MAX),
        };
        *known = Some(end);
        Value { start, end: without_dots(text, start, end), quoted: false }
    }

    fn until(&self, start: usize, quote: &[u8]) -> Value {
        let mut end = start;
        while let Some(&byte) = self.text.get(end).filter(|byte| **byte != b'\n') {
            if self.text.get(end..).is_some_and(|rest| rest.starts_with(quote)) {
                break;
            }
            end += if byte != b'\\' || quote.len() > 1 { 1 } else { self.escaped(end) };
        }
        Value { start, end: end.min(self.text.len()), quoted: true }
    }

    /// Bytes of the backslash at `start` and of the character after it.
    fn escaped(&self, start: usize) -> usize {
        run(self.text, start + 2, |byte| matches!(byte, 0x80..=0xbf), 3) - start
    }
}

fn ends_plain(byte: u8) -> bool {
    is_blank(byte) || is_quote(byte) || b",;&()<>{}[]|\\".contains(&byte)
}

/// `end` without the dots, colons and stars before it.
pub(super) fn without_dots(text: &[u8], start: usize, mut end: usize) -> usize {
    while end > start && matches!(before(text, end, 1), b'.' | b'*' | b':') {
        end -= 1;
    }
    end
}

/// The first characters of `value`, `LOOK` at most.
pub(super) fn look(value: &[u8]) -> &[u8] {
    let mut chars = 0;
    let starts = |byte: &u8| !matches!(byte, 0x80..=0xbf);
    let end = value.iter().position(|byte| {
        chars += usize::from(starts(byte));
        chars > LOOK
    });
    end.and_then(|end| value.get(..end)).unwrap_or(value)
}

/// Characters of `value`, which is UTF-8.
fn length(value: &[u8]) -> usize {
    value.iter().filter(|byte| !matches!(byte, 0x80..=0xbf)).count()
}

/// Whether something else is put there later, or was: `${NAME}`, `<your key>`, `****`, `[TOKEN]`.
pub(super) fn is_template(value: &[u8]) -> bool {
    let second = at(value, 1);
    let put_there = match at(value, 0) {
        b'{' | b'<' => true,
        b'$' => second.is_ascii_alphabetic() || matches!(second, b'_' | b'{' | b'('),
        b'%' => matches!(second, b'(' | b'{' | b's'),
        _ => false,
    };
    put_there || is_one_character(look(value)) || has_placeholder(value)
}

/// Whether `look` is one character again and again.
fn is_one_character(look: &[u8]) -> bool {
    let first = run(look, 1, |byte| matches!(byte, 0x80..=0xbf), 3);
    let one = part(look, 0, first.min(look.len()));
    one.is_empty() || look.chunks(one.len()).all(|chunk| chunk == one)
}

/// Whether `value`, which belongs to a name of `rule`, is a secret.
pub(super) fn is_secret(text: &[u8], value: Value, rule: &Name, is_variable: bool) -> bool {
    let after = at(text, value.end);
    let found = part(text, value.start, value.end);
    if !(4..=LONGEST).contains(&found.len()) || (!value.quoted && matches!(after, b'(' | b'[')) {
        return false;
    }
    let sound = if rule.random {
        let look = look(found);
        let is_url = memchr::memmem::find(look, b"://").is_some();
        is_random(found) && !is_url && !names_something(found) && (value.quoted || !is_path(look))
    } else if value.quoted {
        found.len() <= 256 && (!names_something(found) || found.iter().any(u8::is_ascii_digit))
    } else {
        !matches!(after, b')' | b'{') && is_password(found, rule, is_variable)
    };
    let is_word = RULES.is_stop(found) || is_type(found);
    let is_sentence = value.quoted && rule.word != "passphrase" && found.iter().any(|&byte| is_blank(byte));
    sound && !is_word && !is_sentence && !is_template(found)
}

/// Whether a value without quotes, which may be code or the next word of a sentence, is a password.
fn is_password(found: &[u8], rule: &Name, is_variable: bool) -> bool {
    let look = look(found);
    let (lower, upper, digit) = classes(look);
    let letter = lower || upper;
    if is_variable {
        return letter || digit;
    }
    if is_path(look) || (names_something(found) && !digit) {
        return false;
    }
    let symbol = look.iter().any(|byte| b"!@#$%^&*?~+".contains(byte));
    (letter && digit && found.len() > 4)
        || (letter && symbol && found.len() > 5)
        || (digit && !letter && !rule.apart)
}

const MEANINGS: [&[u8]; 8] =
    [b"password", b"passwd", b"token", b"secret", b"apikey", b"api_key", b"api-key", b"credential"];

/// Whether `found` talks of secrets rather than being one: `new_password`, `API_TOKEN_V2`.
fn names_something(found: &[u8]) -> bool {
    let look = look(found);
    let holds =
        |meaning: &&[u8]| look.windows(meaning.len()).any(|window| window.eq_ignore_ascii_case(meaning));
    look.iter().filter(|byte| byte.is_ascii_digit()).count() < 3 && MEANINGS.iter().any(holds)
}

/// Whether `look` is code: `settings.auth.key2`.
fn is_path(look: &[u8]) -> bool {
    let is_identifier = |piece: &[u8]| {
        !piece.first().is_none_or(u8::is_ascii_digit) && piece.iter().all(|&byte| super::rules::is_name(byte))
    };
    look.contains(&b'.') && look.split(|&byte| byte == b'.').all(is_identifier)
}

const TYPES: [&str; 20] = [
    "u", "i", "f", "x", "v", "b", "uint", "int", "float", "bytes", "utf", "sha", "md", "base", "char",
    "varchar", "nvarchar", "string", "str", "vec",
];

/// Whether `found` is the name of a type or an encoding: `uint8`, `Uint8Array`, `utf8`.
fn is_type(found: &[u8]) -> bool {
    if found.len() > 16 {
        return false;
    }
    let lower = found.to_ascii_lowercase();
    let stem = lower.strip_suffix(b"array").unwrap_or(&lower);
    let letters = run(stem, 0, |byte| byte.is_ascii_lowercase(), usize::MAX);
    let digits = stem.get(letters..).unwrap_or_default();
    (1..=3).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && TYPES.iter().any(|name| Some(name.as_bytes()) == stem.get(..letters))
}

/// Whether `found`, eight characters at least, is no word and no words joined by signs, such as `oauth2-proxy`.
pub(super) fn is_random(found: &[u8]) -> bool {
    let look = look(found);
    let padding = look.iter().rev().take_while(|&&byte| byte == b'=').count(); // of base64
    let look = part(look, 0, look.len() - padding);
    let (lower, upper, digit) = classes(look);
    let length = length(look);
    if length < 8 || !(lower || upper) {
        return false;
    }
    let mixed = length >= 20 && lower && upper;
    if is_wordy(look) { mixed && look.iter().all(|&byte| is_alnum(byte)) } else { digit || mixed }
}

/// Whether `look` is made of words with three digits at most, joined by signs.
fn is_wordy(look: &[u8]) -> bool {
    look.split(|byte| b"_./:=+~-".contains(byte)).all(|piece| {
        let letters = run(piece, 0, |byte| byte.is_ascii_alphabetic(), usize::MAX);
        let digits = piece.get(letters..).unwrap_or_default();
        digits.len() <= 3 && digits.iter().all(|&byte| is_digit(byte))
    })
}
