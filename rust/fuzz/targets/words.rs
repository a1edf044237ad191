//! The words of a text against a naive version of the same rules, written for clearness: terms first, as texts of their own.

#![no_main]

use std::collections::HashSet;

use bsgateway_core::chars::{clean, fold, fold_char, is_unspaced, is_word};
use bsgateway_core::inputs::{INPUT_NAMES, inputs};
use bsgateway_core::words::{WORD_BUCKETS, WORD_HEAD, WORD_TAIL, WordCounts, vocabulary, words};
use libfuzzer_sys::{Corpus, fuzz_target};

/// Longest text, in bytes: beyond what is looked at.
const MOST: usize = 16 * 1024;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if bytes.len() > MOST {
        return Corpus::Reject;
    }
    let text = clean(bytes);
    let mut met = Vec::new();
    let counts = words(&text, |bucket| met.push(bucket));
    assert_eq!((counts, met), expected(&text), "words of {text:?}");
    check_inputs(bytes);
    Corpus::Keep
});

fn expected(text: &str) -> (WordCounts, Vec<u32>) {
    let chars: Vec<char> = text.chars().collect();
    let text: String = if chars.len() > WORD_HEAD + WORD_TAIL {
        chars[..WORD_HEAD].iter().chain(&['\n']).chain(&chars[chars.len() - WORD_TAIL..]).collect()
    } else {
        text.to_owned()
    };
    let mut counts = WordCounts::default();
    let mut buckets = Vec::new();
    let mut before: Option<(String, u64)> = None;
    for term in terms(&text) {
        let folded = if term == "\n" { term.clone() } else { fold(&term) };
        let is_number = is_number(&term);
        let hashed = hash(&if is_number { format!("#{}", term.len().min(4)) } else { folded.clone() });
        counts.terms += 1;
        buckets.push(bucket(hashed));
        if is_number {
            counts.numbers += 1;
            buckets.push(bucket(hash(&term)));
        } else if term.starts_with(is_word) {
            let follows = |term: &str| term == "," || !is_number_or_sign(term);
            let joins = before.as_ref().is_some_and(|(term, _)| follows(term));
            counts.names += u16::from(joins && is_capitalized(&term));
            counts.long_words += u16::from(term.chars().count() >= 8);
            for ((_, mut group), count) in vocabulary().zip(&mut counts.groups) {
                *count += u16::from(group.any(|word| word == folded));
            }
        }
        if let Some((_, before)) = before {
            buckets.push(bucket(before.wrapping_mul(PRIME) ^ hashed));
        }
        before = Some((term, hashed));
    }
    let mut known = HashSet::new();
    buckets.retain(|&bucket| known.insert(bucket));
    counts.distinct = buckets.len() as u16;
    let count = |wanted: fn(char) -> bool| text.chars().filter(|&c| wanted(c)).count() as u16;
    counts.uppercase = count(|c| is_word(c) && fold_char(c) != c);
    counts.symbols = count(|c| "\\$^=+*/<>{}|".contains(c));
    counts.quotes = count(|c| matches!(c, '"' | '\''));
    counts.brackets = count(|c| matches!(c, '(' | '['));
    counts.options = text.split('\n').filter(|line| is_option(line)).count() as u16;
    (counts, buckets)
}

fn terms(text: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    let mut before = "space";
    for c in text.chars() {
        let kind = match c {
            '\n' => "line",
            _ if is_word(c) => "word",
            _ if is_unspaced(c) => "single",
            _ if fold_char(c) == ' ' => "space",
            _ => "other",
        };
        match terms.last_mut() {
            Some(term) if kind == before && matches!(kind, "word" | "other") => term.push(c),
            _ if kind == "space" => (),
            _ => terms.push(c.to_string()),
        }
        before = kind;
    }
    terms
}

fn is_number(term: &str) -> bool {
    term.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number_or_sign(term: &str) -> bool {
    is_number(term) || !term.starts_with(is_word)
}

fn is_capitalized(word: &str) -> bool {
    let capitals: Vec<bool> = word.chars().take(2).map(|c| fold_char(c) != c).collect();
    capitals == [true, false]
}

fn is_option(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '\r']);
    let line = line.strip_prefix('(').unwrap_or(line);
    let rest = line.strip_prefix(|c: char| c.is_ascii_alphabetic());
    rest.is_some_and(|rest| rest.starts_with(['.', ')']))
}

const PRIME: u64 = 0x0000_0100_0000_01b3;

fn hash(term: &str) -> u64 {
    term.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

fn bucket(hash: u64) -> u32 {
    let spread = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread / (u64::MAX / WORD_BUCKETS as u64 + 1)) as u32
}

/// Any counts have inputs that are finite and not negative; more of a thing never lowers its own input.
fn check_inputs(bytes: &[u8]) {
    let mut features = [0.0; bsgateway_core::features::FEATURE_NAMES.len()];
    for (feature, bytes) in features.iter_mut().zip(bytes.chunks(4)) {
        *feature = bytes.iter().fold(0.0, |sum, &byte| sum * 256.0 + f64::from(byte));
    }
    let found = inputs(&features, &["tools"]);
    for (name, value) in INPUT_NAMES.iter().zip(found) {
        assert!(value.is_finite() && value >= 0.0, "{name} is {value} of {features:?}");
    }
    let more = inputs(&features.map(|feature| feature + 1.0), &["tools"]);
    assert!(features.iter().zip(found).zip(more).all(|((_, less), more)| less < more), "of {features:?}");
}
