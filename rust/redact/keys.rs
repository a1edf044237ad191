//! Keys and tokens that show what they are: private key blocks, known prefixes, JSON web tokens.

use memchr::memmem::Finder;

use super::rules::{
    API_KEY, Key, Look, PRIVATE_KEY, RULES, Span, TOKEN, at, before, classes, is_alnum, is_digit, is_free,
    is_word, part, run,
};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const NEAR: usize = 256;

/// PEM and PGP blocks, from the first line to the last.
///
/// One whose end is missing ends with the text or where the next block begins; the first line alone, with nothing like
/// a key soon after it, is talk about keys.
pub(super) fn private_keys(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let (begins, ends) = (Finder::new(BEGIN), Finder::new(END));
    let mut found = find(&begins, text, 0);
    while let Some(start) = found {
        let body = marker_end(text, start + BEGIN.len());
        let Some(body) = body.filter(|&body| contains(part(text, start, body), b"PRIVATE KEY")) else {
            found = find(&begins, text, start + BEGIN.len());
            continue;
        };
        found = find(&begins, text, body);
        let limit = found.unwrap_or(text.len());
        if let Some(end) = find(&ends, part(text, 0, limit), body) {
            let end = marker_end(text, end + END.len()).unwrap_or(limit);
            spans.push(Span { start, end, placeholder: PRIVATE_KEY });
        } else if has_key_line(part(text, body, limit.min(near(text, body)))) {
            spans.push(Span { start, end: limit, placeholder: PRIVATE_KEY });
        }
    }
}

fn find(finder: &Finder<'_>, text: &[u8], from: usize) -> Option<usize> {
    finder.find(text.get(from..)?).map(|at| from + at)
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

fn marker_end(text: &[u8], label: usize) -> Option<usize> {
    let is_label = |byte: u8| byte.is_ascii_uppercase() || is_digit(byte) || byte == b' ';
    let end = run(text, label, is_label, 60);
    text.get(end..)?.starts_with(b"-----").then_some(end + 5)
}

fn near(text: &[u8], start: usize) -> usize {
    run(text, start, |byte| byte.is_ascii(), NEAR)
}

fn has_key_line(text: &[u8]) -> bool {
    text.split(|&byte| !is_alnum(byte) && !matches!(byte, b'+' | b'/')).any(|piece| piece.len() >= 16)
}

/// Bytes of a key that its look is judged by.
const LOOK: usize = 40;
const AWS_SECRET: usize = 40;

/// Keys with a known prefix, and the secret half of an AWS key pair near the first half.
pub(super) fn prefixed_keys(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let rules = &*RULES;
    let Some(prefixes) = &rules.prefixes else { return };
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| prefixes.find(rest)) {
        let start = from + found.start();
        let body = from + found.end();
        from = start + 1;
        let Some(key) = rules.keys.get(found.pattern().as_usize()).filter(|_| is_free(text, start)) else {
            continue;
        };
        let Some(end) = key_end(text, body, key) else { continue };
        spans.push(Span { start, end, placeholder: key.placeholder });
        from = end;
        if matches!(key.prefix, "AKIA" | "ASIA")
            && let Some(secret) = aws_secret(text, end)
        {
            spans.push(secret);
            from = secret.end;
        }
    }
}

/// Where `key` ends whose prefix ends at `body`; None if it is none.
fn key_end(text: &[u8], body: usize, key: &Key) -> Option<usize> {
    let accepts = |byte: u8| key.alphabet.has(byte);
    let look = part(text, body, run(text, body, accepts, LOOK));
    if look.len() < key.least.min(LOOK) || !looks_right(look, key.look) {
        return None;
    }
    let mut end = run(text, body, accepts, key.most.map_or(usize::MAX, |most| most + 1));
    while before(text, end, 1) == b'.' {
        end -= 1;
    }
    let length = end.checked_sub(body)?;
    let over = key.most.is_some_and(|most| length > most || is_alnum(at(text, end)));
    (length >= key.least && !over).then_some(end)
}

fn looks_right(look: &[u8], rule: Look) -> bool {
    match rule {
        Look::Any => true,
        Look::Mixed => {
            let (lower, upper, digit) = classes(look);
            u8::from(lower) + u8::from(upper) + u8::from(digit) >= 2
        }
        Look::Dense => look.iter().any(u8::is_ascii_digit) && is_dense(look),
    }
}

/// Whether seven letters and digits, some of each, stand in a row.
fn is_dense(look: &[u8]) -> bool {
    look.split(|&byte| !is_alnum(byte)).filter(|piece| piece.len() >= 7).any(|piece| {
        let (lower, upper, digit) = classes(piece);
        (lower || upper) && digit
    })
}

/// The first 40 characters of base64 in the next 256 of ASCII that look random.
fn aws_secret(text: &[u8], from: usize) -> Option<Span> {
    let is_base64 = |byte: u8| is_alnum(byte) || matches!(byte, b'+' | b'/');
    let limit = near(text, from);
    let mut start = from;
    while start < limit {
        let end = run(text, start, is_base64, limit - start);
        let whole = !is_base64(at(text, end));
        if end - start == AWS_SECRET && whole && classes(part(text, start, end)) == (true, true, true) {
            return Some(Span { start, end, placeholder: API_KEY });
        }
        start = end + 1;
    }
    None
}

/// `123456789:AA` and 33 more: what a Telegram bot shows.
pub(super) fn telegram_tokens(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let mut done = 0;
    for colon in memchr::memmem::find_iter(text, b":AA") {
        let digits =
            part(text, 0, colon).iter().rev().take(11).take_while(|byte| byte.is_ascii_digit()).count();
        let end = run(text, colon + 1, is_word, 36);
        if (8..=10).contains(&digits) && end - colon == 36 && colon - digits >= done {
            spans.push(Span { start: colon - digits, end, placeholder: TOKEN });
            done = end;
        }
    }
}

/// Client secrets of Entra ID: three characters, a digit, `Q~`, 31 to 34 characters.
pub(super) fn azure_secrets(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let accepts = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'~');
    let mut done = 0;
    for mark in memchr::memmem::find_iter(text, b"Q~") {
        let mut end = run(text, mark + 2, accepts, 35);
        while before(text, end, 1) == b'.' {
            end -= 1;
        }
        let Some(start) = mark.checked_sub(4).filter(|&start| start >= done) else { continue };
        let head = part(text, start, mark);
        let fits = head.iter().all(|&byte| accepts(byte)) && head.last().is_some_and(u8::is_ascii_digit);
        if fits && is_free(text, start) && (31..=34).contains(&(end - mark - 2)) {
            spans.push(Span { start, end, placeholder: API_KEY });
            done = end;
        }
    }
}

/// JSON web tokens: two to five parts with dots between them, the first of which begins as `{"` does in base64.
pub(super) fn web_tokens(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let finder = Finder::new(b"eyJ");
    let mut from = 0;
    while let Some(start) = find(&finder, text, from) {
        from = start + 3;
        if matches!(before(text, start, 1), b'_' | b'-') || !is_free(text, start) {
            continue;
        }
        let mut end = run(text, start, is_word, usize::MAX);
        from = end;
        let second = if at(text, end) == b'.' { run(text, end + 1, is_word, usize::MAX) } else { end };
        if end - start >= 10 && second - end > 10 {
            end = second;
            for _ in 0..3 {
                if at(text, end) == b'.' && is_word(at(text, end + 1)) {
                    end = run(text, end + 1, is_word, usize::MAX);
                }
            }
            spans.push(Span { start, end, placeholder: TOKEN });
            from = end;
        }
    }
}
