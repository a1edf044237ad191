//! [`GlobSet`] against an fnmatch that tries every split, as its definition says.

#![no_main]

use bsgateway_core::glob::MAX_PATTERN;
use bsgateway_core::{Error, GlobSet};
use libfuzzer_sys::{Corpus, fuzz_target};

/// Longest name and longest text of all patterns, in bytes: the definition is followed in time that is cubic.
const MOST: usize = 400;

// The first line is the name, every other one a pattern.
fuzz_target!(|text: &str| -> Corpus {
    if text.len() > MOST {
        return Corpus::Reject;
    }
    let mut lines = text.split('\n');
    let name = lines.next().unwrap_or_default();
    let patterns: Vec<&str> = lines.collect();
    let first_bad = patterns.iter().find(|pattern| Glob::parse(pattern).is_none());
    match (GlobSet::new(&patterns), first_bad) {
        (Err(Error::Pattern { pattern, .. }), Some(&bad)) => {
            assert_eq!(pattern, bad, "another pattern is refused")
        }
        (Err(error), None) => panic!("refused: {error}"),
        (Ok(_), Some(bad)) => panic!("accepted: {bad:?}"),
        (Err(error), Some(_)) => panic!("another error: {error}"),
        (Ok(globs), None) => {
            let name_chars: Vec<char> = name.chars().collect();
            let expected = patterns
                .iter()
                .position(|pattern| Glob::parse(pattern).is_some_and(|glob| glob.matches(&name_chars)));
            assert_eq!(globs.first_match(name), expected, "{name:?} against {patterns:?}");
            assert_eq!((globs.len(), globs.is_empty()), (patterns.len(), patterns.is_empty()));
        }
    }
    Corpus::Keep
});

enum Token {
    Run,
    One(Box<dyn Fn(char) -> bool>),
}

struct Glob(Vec<Token>);

impl Glob {
    /// None for what must be refused.
    fn parse(pattern: &str) -> Option<Self> {
        let chars: Vec<char> = pattern.chars().collect();
        if chars.is_empty() || chars.len() > MAX_PATTERN {
            return None;
        }
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let first = chars[at];
            at += 1;
            tokens.push(match first {
                '*' => Token::Run,
                '?' => Token::One(Box::new(|_| true)),
                '[' => {
                    let negated = chars.get(at) == Some(&'!');
                    at += usize::from(negated);
                    let start = at;
                    at += 1; // the first member, which may be a ]
                    while *chars.get(at)? != ']' {
                        at += 1;
                    }
                    let members = class(&chars[start..at])?;
                    at += 1;
                    Token::One(Box::new(move |c| {
                        members.iter().any(|(low, high)| (*low..=*high).contains(&c)) != negated
                    }))
                }
                literal => Token::One(Box::new(move |c| c == literal)),
            });
        }
        Some(Self(tokens))
    }

    /// Row by row of the table "the first i tokens match the first j characters".
    fn matches(&self, name: &[char]) -> bool {
        let mut row: Vec<bool> = (0..=name.len()).map(|end| end == 0).collect();
        for token in &self.0 {
            row = (0..=name.len())
                .map(|end| match token {
                    Token::Run => row[..=end].contains(&true),
                    Token::One(accepts) => end > 0 && row[end - 1] && accepts(name[end - 1]),
                })
                .collect();
        }
        row[name.len()]
    }
}

/// The ranges of a class; None if one runs backwards.
fn class(members: &[char]) -> Option<Vec<(char, char)>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < members.len() {
        let low = members[at];
        let is_range = members.get(at + 1) == Some(&'-') && at + 2 < members.len();
        let high = if is_range { members[at + 2] } else { low };
        if high < low {
            return None;
        }
        ranges.push((low, high));
        at += if is_range { 3 } else { 1 };
    }
    Some(ranges)
}
