//! Secrets and personal data in a text, replaced by typed placeholders before anything is stored.
//!
//! Stages follow each other, from what is most certain to what is least: a key with a known prefix, then what is secret by
//! its name, then addresses and numbers. Each replaces what it finds from left to right, and the next sees its
//! placeholders. What one stage replaced can uncover nothing new, or the stages run again, so the result is stable.
//! Time is linear: no stage looks at a byte more than a fixed number of times.

mod assigned;
mod internet;
mod keys;
mod mail;
mod numbers;
mod rules;
mod values;

use std::borrow::Cow;

use crate::chars::is_unspaced;
use rules::{CUT, RULES, Span, before, is_alnum};

pub use rules::REDACTION_PLACEHOLDERS;

const STAGES: [fn(&str, &mut Vec<Span>); 12] = [
    keys::private_keys,
    keys::prefixed_keys,
    keys::telegram_tokens,
    keys::azure_secrets,
    keys::web_tokens,
    assigned::url_passwords,
    assigned::assigned,
    assigned::bearer_tokens,
    assigned::curl_passwords,
    mail::addresses,
    internet::addresses6,
    numbers::numbers,
];
const ROUNDS: usize = 4;

/// `text` with what must not be stored replaced by [`REDACTION_PLACEHOLDERS`].
///
/// `cut`: the text is the beginning of a longer one, so its last word may be half a secret that can no longer be
/// recognized. That word, and the digits and groups before it that may belong to it, become `[CUT]`.
#[must_use]
pub fn redact(text: &str, cut: bool) -> Cow<'_, str> {
    if !cut {
        return settle(Cow::Borrowed(text));
    }
    // Before anything else: the groups of half an IBAN can pass for a card.
    let start = unfinished_iban(text.as_bytes());
    if let Some(kept) = text.get(..start).filter(|kept| kept.len() < text.len()) {
        return settle(Cow::Owned(format!("{kept}{CUT}")));
    }
    let settled = settle(Cow::Borrowed(text));
    match settled.get(..unfinished(&settled)) {
        Some(kept) if kept.len() < settled.len() => settle(Cow::Owned(format!("{kept}{CUT}"))),
        _ => settled,
    }
}

fn settle(mut text: Cow<'_, str>) -> Cow<'_, str> {
    let mut spans = Vec::new();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for stage in STAGES {
            spans.clear();
            stage(&text, &mut spans);
            if !spans.is_empty() {
                let replaced = replace(&text, &spans);
                changed |= replaced != *text;
                text = Cow::Owned(replaced);
            }
        }
        if !changed {
            break;
        }
    }
    text
}

fn replace(text: &str, spans: &[Span]) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        replaced.push_str(text.get(done..span.start).unwrap_or_default());
        replaced.push_str(span.placeholder);
        done = span.end;
    }
    replaced.push_str(text.get(done..).unwrap_or_default());
    replaced
}

/// Longest beginning of an IBAN that is looked for, in bytes.
const GROUPS: usize = 48;

/// Where the last word of `text` begins, with the groups before it that may belong to the same number.
fn unfinished(text: &str) -> usize {
    let bytes = text.as_bytes();
    // A round bracket does not end the word: `(415) 55`.
    let ends = |c: char| " \t\n\r\x0b\x0c\"'`<>,;{}[]|".contains(c) || is_unspaced(c);
    let word = text.rfind(ends).and_then(|last| text.get(last..)).and_then(|rest| rest.chars().next());
    let start = text.rfind(ends).map_or(0, |last| last + word.map_or(0, char::len_utf8));
    let tail = bytes.iter().rev().take_while(|byte| b"0123456789 +-./()".contains(byte)).count();
    let mut number = text.len() - tail;
    if number < start && !bytes.iter().skip(number).any(u8::is_ascii_digit) {
        number = text.len();
    }
    start.min(number)
}

/// Where the groups begin, at most 48 characters, that are the beginning of an IBAN; else the end of `text`.
fn unfinished_iban(text: &[u8]) -> usize {
    let joins = |byte: &&u8| is_alnum(**byte) || matches!(byte, b' ' | b'-');
    let mut start = text.len() - text.iter().rev().take(GROUPS).take_while(joins).count();
    while start + 4 <= text.len() {
        let tail = text.get(start..).unwrap_or_default();
        let [a, b, c, d, ..] = tail else { break };
        if !(a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit()) {
            start += 1;
            continue;
        }
        if !is_alnum(before(text, start, 1)) && RULES.iban_length(&[*a, *b]) > 0 {
            let mut groups = tail.split(|byte| matches!(byte, b' ' | b'-')).rev();
            let last = groups.next().map_or(0, <[u8]>::len);
            if last <= 4 && groups.all(|group| group.len() == 4) {
                return start;
            }
        }
        start += 4;
    }
    text.len()
}

#[cfg(test)]
mod tests;
