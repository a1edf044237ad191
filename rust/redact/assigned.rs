//! What is secret because of where it stands: after a name (`DB_PASSWORD=`, `"token": "..."`), in a URL, in a header.

use memchr::memmem::{self, Finder};

use super::rules::{
    Name, PASSWORD, RULES, Span, TOKEN, at, before, classes, is_alnum, is_blank, is_digit, is_free, is_quote,
    is_word, part, run, starts_placeholder,
};
use super::values::{LOOK, Value, Values, is_random, is_secret, is_template, look, without_dots};

/// The password in `scheme://user:password@host`.
pub(super) fn url_passwords(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let ends = |byte: u8| is_blank(byte) || is_quote(byte) || matches!(byte, b'/' | b'<' | b'>' | b'\\');
    for mark in memmem::find_iter(text, b"://") {
        let start = mark + 3;
        let authority = part(text, start, run(text, start, |byte| !ends(byte), usize::MAX));
        let Some(at_sign) = memchr::memrchr(b'@', authority) else { continue };
        let Some(colon) = authority.get(..at_sign).and_then(|user| memchr::memchr(b':', user)) else {
            continue;
        };
        push_password(text, start + colon + 1, start + at_sign, spans);
    }
}

fn push_password(text: &[u8], start: usize, end: usize, spans: &mut Vec<Span>) {
    if start < end && !is_template(part(text, start, end)) {
        spans.push(Span { start, end, placeholder: PASSWORD });
    }
}

/// What looks random after the word Bearer.
pub(super) fn bearer_tokens(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let accepts = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=');
    for space in memchr::memchr_iter(b' ', text) {
        let Some(begin) = space.checked_sub(6) else { continue };
        if !part(text, begin, space).eq_ignore_ascii_case(b"bearer") || !is_free(text, begin) {
            continue;
        }
        let start = space + 1;
        let end = without_dots(text, start, run(text, start, accepts, usize::MAX));
        if is_random(part(text, start, end)) {
            spans.push(Span { start, end, placeholder: TOKEN });
        }
    }
}

/// The password in `curl -u user:password`, up to 200 characters of ASCII after the word curl on its line.
pub(super) fn curl_passwords(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let curl = Finder::new(b"curl");
    let mut done = 0;
    for option in memchr::memchr_iter(b'-', text) {
        let rest = text.get(option..).unwrap_or_default();
        let length = if rest.starts_with(b"-u ") { 3 } else { 7 };
        if option < done || (length == 7 && !rest.starts_with(b"--user ")) {
            continue;
        }
        done = option + length;
        let start = done + usize::from(matches!(at(text, done), b'"' | b'\''));
        let end = run(text, start, |byte| !is_blank(byte) && !is_quote(byte), usize::MAX);
        let value = part(text, start, end);
        let Some(colon) = memchr::memchr(b':', value) else { continue };
        let numbers = value.iter().enumerate().all(|(place, &byte)| place == colon || is_digit(byte));
        let line = part(text, 0, option).iter().rev().take(200);
        let line = line.take_while(|byte| byte.is_ascii() && **byte != b'\n').count();
        if !numbers && curl.find(part(text, option - line, option)).is_some() {
            push_password(text, start + colon + 1, end, spans);
        }
    }
}

/// Signs between a name and its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Equals,
    Colon,
    Element,
    Is,
    Option,
}

impl Mark {
    fn at(text: &[u8], place: usize) -> Option<Self> {
        let rest = text.get(place..)?;
        match rest.first()? {
            b'=' => Some(Self::Equals),
            b':' => Some(Self::Colon),
            b'>' => Some(Self::Element),
            b' ' => rest.starts_with(b" is ").then_some(Self::Is),
            b'-' => rest.starts_with(b"--").then_some(Self::Option),
            _ => None,
        }
    }
}

/// Values of secret names: `name=value`, `name: value`, `<name>value<`, `name is value`, `--name value`.
pub(super) fn assigned(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let mut values = Values::new(text);
    let mut from = 0;
    let may_be = |byte: &u8| matches!(byte, b'=' | b':' | b'>' | b' ' | b'-');
    while let Some(next) = text.get(from..).and_then(|rest| rest.iter().position(may_be)) {
        let place = from + next;
        let span = Mark::at(text, place).and_then(|mark| assigned_at(text, place, mark, &mut values));
        from = span.map_or(place + 1, |span| span.end);
        spans.extend(span);
    }
}

fn assigned_at(text: &[u8], place: usize, mark: Mark, values: &mut Values<'_>) -> Option<Span> {
    let (begin, end, start) = match mark {
        Mark::Element => return element(text, place),
        Mark::Option => {
            let end = run(text, place + 2, is_word, 64);
            if at(text, end) != b' ' {
                return None;
            }
            (place + 2, end, end + 1)
        }
        Mark::Is => {
            let (begin, end) = name_before(text, place, 0);
            (begin, end, place + 4)
        }
        Mark::Equals | Mark::Colon => {
            let (begin, end) = name_before(text, place, 8);
            let sign = run(text, place + 1, |byte| matches!(byte, b'=' | b':' | b'>' | b'~'), 2);
            (begin, end, run(text, sign, |byte| matches!(byte, b' ' | b'\t' | b'*'), 16))
        }
    };
    let name = part(text, begin, end);
    if name.is_empty() {
        return None;
    }
    if ends_with(name, b"authorization") {
        return authorization(text, start);
    }
    if name.eq_ignore_ascii_case(b"cookie") || name.eq_ignore_ascii_case(b"set-cookie") {
        return cookie(text, start);
    }
    let mut found = rule(text, begin, name);
    let mut first = begin;
    let typed = found.is_none()
        && mark == Mark::Equals
        && before(text, begin, 1) == b' '
        && before(text, begin, 2) == b':';
    if typed {
        let (begin, end) = name_before(text, begin - 2, 8);
        found = rule(text, begin, part(text, begin, end));
        first = begin;
    }
    let rule = found.filter(|_| !starts_placeholder(text, start))?;
    let is_variable = mark == Mark::Equals
        && start == place + 1
        && is_variable(name)
        && !matches!(before(text, first, 1), b'?' | b'&');
    let value = values.at(start, is_variable);
    if (typed && !value.quoted) || !is_secret(text, value, rule, is_variable) {
        return None;
    }
    Some(Span { start: value.start, end: value.end, placeholder: rule.placeholder })
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len() >= end.len() && part(name, name.len() - end.len(), name.len()).eq_ignore_ascii_case(end)
}

/// Whether `name` looks like one of the environment: `DB_PASSWORD`.
fn is_variable(name: &[u8]) -> bool {
    let (lower, upper, _) = classes(name);
    upper && !lower
}

/// Where the name before `end` begins and ends; quotes, brackets and blanks may stand between, `closing` of them.
fn name_before(text: &[u8], end: usize, closing: usize) -> (usize, usize) {
    let head = part(text, 0, end);
    let between = head.iter().rev().take(closing).take_while(|byte| b" \t\"'`]*\\".contains(byte)).count();
    let end = end - between;
    let name = part(text, 0, end).iter().rev().take(64).take_while(|byte| is_word(**byte) || **byte == b'.');
    (end - name.count(), end)
}

/// The rule for `name`, which stands at `start`: of those that it ends like, the one with the longest word.
fn rule(text: &[u8], start: usize, name: &[u8]) -> Option<&'static Name> {
    let mut name = name;
    let joined;
    if name.eq_ignore_ascii_case(b"key") && before(text, start, 1) == b' ' {
        let (first, _) = name_before(text, start - 1, 0);
        joined = [part(text, first, start - 1), name].concat();
        name = &joined;
    }
    let name = without_ending(name);
    let plain: Vec<u8> =
        name.iter().filter(|byte| !b"_-.".contains(byte)).map(u8::to_ascii_lowercase).collect();
    let fits = |rule: &&Name| {
        plain.ends_with(rule.word.as_bytes()) && (!rule.apart || stands_apart(name, rule.word.as_bytes()))
    };
    RULES.names(*plain.last()?).iter().filter(fits).max_by_key(|rule| rule.word.len())
}

/// `name` without a last word that says which one it is: `_1`, `-prod`.
fn without_ending(name: &[u8]) -> &[u8] {
    let Some(cut) = name.iter().rposition(|byte| b"_-.".contains(byte)).filter(|&cut| cut > 0) else {
        return name;
    };
    let last = part(name, cut + 1, name.len());
    let is_number = !last.is_empty() && last.iter().all(u8::is_ascii_digit);
    if is_number || RULES.is_ending(last) { part(name, 0, cut) } else { name }
}

fn stands_apart(name: &[u8], word: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(word.len()) else { return false };
    if !part(name, start, name.len()).eq_ignore_ascii_case(word) {
        return false;
    }
    match before(name, start, 1) {
        _ if start == 0 => true,
        b'_' | b'-' | b'.' => true,
        byte => (byte.is_ascii_lowercase() || is_digit(byte)) && at(name, start).is_ascii_uppercase(),
    }
}

fn element(text: &[u8], mark: usize) -> Option<Span> {
    let (begin, _) = name_before(text, mark, 0);
    if begin == mark || before(text, begin, 1) != b'<' {
        return None;
    }
    let start = mark + 1;
    let end = run(text, start, |byte| !is_blank(byte) && !matches!(byte, b'<' | b'>'), usize::MAX);
    let closed = text.get(end..).is_some_and(|rest| rest.starts_with(b"</"));
    let rule = rule(text, begin, part(text, begin, mark)).filter(|_| start < end && closed)?;
    is_secret(text, Value { start, end, quoted: true }, rule, false).then_some(Span {
        start,
        end,
        placeholder: rule.placeholder,
    })
}

/// What follows the scheme of an Authorization header: `Basic dXNlcjpw`; a lone word if it looks random.
fn authorization(text: &[u8], start: usize) -> Option<Span> {
    let start = start + usize::from(at(text, start) == b'\\');
    let start = start + usize::from(is_quote(at(text, start)));
    let accepts = |byte: u8| !is_blank(byte) && !is_quote(byte) && !b",;<>()\\".contains(&byte);
    let scheme = run(text, start, |byte| is_alnum(byte) || byte == b'-', 25);
    let is_scheme = at(text, start).is_ascii_alphabetic() && at(text, scheme) == b' ';
    // With a scheme first; if nothing follows it, it is the word itself.
    for begin in [is_scheme.then_some(scheme + 1), Some(start)].into_iter().flatten() {
        let begin = run(text, begin, |byte| byte == b' ', 4);
        let end = run(text, begin, accepts, 4 * LOOK);
        if begin < end {
            let token = look(part(text, begin, end));
            let is_code = begin + token.len() == end && at(text, end) == b'(';
            let sound = !is_code && !is_template(token) && is_random(token);
            return sound.then(|| {
                let end = run(text, begin, accepts, usize::MAX);
                Span { start: begin, end, placeholder: TOKEN }
            });
        }
    }
    None
}

/// All cookies of a header.
fn cookie(text: &[u8], start: usize) -> Option<Span> {
    let start = start + usize::from(is_quote(at(text, start)));
    let name = run(text, start, |byte| is_word(byte) || matches!(byte, b'.' | b'%'), 64);
    (name > start && at(text, name) == b'=').then(|| {
        let end = run(text, start, |byte| byte != b'\n' && !is_quote(byte), usize::MAX);
        Span { start, end, placeholder: TOKEN }
    })
}
