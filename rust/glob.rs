//! fnmatch patterns over model names, a whole set matched at once.
//!
//! `*` any run of characters, `?` one character, `[seq]` one of, `[!seq]` none of; case-sensitive, whole name. A `]` right
//! after `[` or `[!` is literal, `a-z` is a range. Stricter than Python's `fnmatch` only in what it refuses: an empty
//! pattern, one that is too long, an unclosed `[`, a range that runs backwards.

use std::str::Chars;

use crate::error::Error;

/// Longest pattern, in characters.
pub const MAX_PATTERN: usize = 256;

/// An ordered set of patterns.
#[derive(Debug)]
pub struct GlobSet {
    patterns: Vec<Vec<Token>>,
}

#[derive(Debug)]
enum Token {
    Run,
    Any,
    One(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl GlobSet {
    /// Compiles `patterns`.
    ///
    /// # Errors
    /// [`Error::Pattern`] for the first bad one.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let compile = |pattern: S| {
            parse(pattern.as_ref())
                .map_err(|problem| Error::Pattern { pattern: pattern.as_ref().to_owned(), problem })
        };
        Ok(Self { patterns: patterns.into_iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// Index of the first pattern, in the order given, that matches the whole of `name`.
    ///
    /// Time is at most the product of the two lengths for each pattern.
    #[must_use]
    pub fn first_match(&self, name: &str) -> Option<usize> {
        self.patterns.iter().position(|tokens| matches(tokens, name))
    }

    /// How many patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

fn parse(pattern: &str) -> Result<Vec<Token>, String> {
    let chars: Vec<char> = pattern.chars().collect();
    if chars.is_empty() {
        return Err("empty pattern".to_owned());
    }
    if chars.len() > MAX_PATTERN {
        return Err(format!("pattern longer than {MAX_PATTERN} characters"));
    }
    let mut tokens = Vec::new();
    let mut rest = chars.as_slice();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        tokens.push(match first {
            '*' => Token::Run,
            '?' => Token::Any,
            '[' => {
                let position = chars.len() - after.len();
                let end =
                    class_end(after).ok_or_else(|| format!("'[' at position {position} is never closed"))?;
                let (class, closed) = after.split_at(end);
                rest = closed.get(1..).unwrap_or_default();
                parse_class(class)?
            }
            literal => Token::One(literal),
        });
    }
    Ok(tokens)
}

/// Offset of the `]` that closes a class whose `[` stands just before `after`: not its first member.
fn class_end(after: &[char]) -> Option<usize> {
    let first = 1 + usize::from(after.first() == Some(&'!'));
    let offset = after.get(first..)?.iter().position(|&c| c == ']')?;
    Some(first + offset)
}

fn parse_class(class: &[char]) -> Result<Token, String> {
    let (negated, mut members) = match class {
        ['!', members @ ..] => (true, members),
        _ => (false, class),
    };
    let mut ranges = Vec::new();
    loop {
        members = match members {
            [low, '-', high, ..] if low > high => return Err(format!("range '{low}-{high}' runs backwards")),
            [low, '-', high, after @ ..] => {
                ranges.push((*low, *high));
                after
            }
            [one, after @ ..] => {
                ranges.push((*one, *one));
                after
            }
            [] => return Ok(Token::Class { negated, ranges }),
        };
    }
}

impl Token {
    /// Whether this token, which is no run, stands for `c`.
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Run => false,
            Self::Any => true,
            Self::One(one) => *one == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| low <= c && c <= high) != *negated
            }
        }
    }
}

/// Matches the whole of `name`. A mismatch goes back to the newest run only: what an earlier run could still give, the
/// newest one can take instead.
fn matches(tokens: &[Token], name: &str) -> bool {
    let mut tokens = tokens;
    let mut rest = name.chars();
    let mut retry: Option<(&[Token], Chars<'_>)> = None;
    loop {
        let before = rest.clone();
        match (tokens.split_first(), rest.next()) {
            (Some((Token::Run, [])), _) | (None, None) => return true,
            (Some((Token::Run, after)), _) => {
                rest = before;
                tokens = after;
                retry = Some((after, rest.clone()));
            }
            (Some(_), None) => return false,
            (Some((token, after)), Some(c)) if token.accepts(c) => tokens = after,
            (_, Some(_)) => {
                // Let the newest run take one character more.
                let Some((after, from)) = &mut retry else { return false };
                from.next();
                tokens = after;
                rest = from.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(patterns: &[&str]) -> GlobSet {
        GlobSet::new(patterns).unwrap()
    }

    fn problem(pattern: &str) -> String {
        match GlobSet::new([pattern]).unwrap_err() {
            Error::Pattern { problem, .. } => problem,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn first_in_order_wins() {
        let globs = set(&["claude-*-haiku", "claude-*", "gpt-?", "*"]);
        let find = |name| globs.first_match(name);
        assert_eq!(find("claude-3-haiku"), Some(0));
        assert_eq!(find("claude-"), Some(1));
        assert_eq!(find("gpt-5"), Some(2));
        assert_eq!(find("gpt-55"), Some(3));
        assert_eq!(find(""), Some(3));
        assert_eq!(set(&[]).first_match("x"), None);
    }

    #[test]
    fn runs_give_back() {
        for (pattern, name, expected) in [
            ("*ab", "aabab", true),
            ("*ab*ba*", "abba", true),
            ("*ab*ba*", "aba", false),
            ("a*b*c", "abbbcbc", true),
            ("a**b", "ab", true),
            ("**", "", true),
            ("?*?", "a", false),
            ("?*?", "äß", true),
            ("a*", "ba", false),
            ("line\n*", "line\nend\n", true),
        ] {
            assert_eq!(set(&[pattern]).first_match(name).is_some(), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn classes() {
        for (pattern, yes, no) in [
            ("[abc]", "b", "d"),
            ("[!abc]", "d", "a"),
            ("[]]", "]", "["),
            ("[!]]", "[", "]"),
            ("[]-a]", "^", "b"),
            ("[a-]", "-", "b"),
            ("[-a]", "-", "b"),
            ("[!-a]", "b", "-"),
            ("[a-c-e]", "-", "d"),
            ("[a-b--c]", "/", "d"),
            ("[^a]", "^", "b"),
            ("[[]", "[", "]"),
            ("[\\]", "\\", "/"),
            ("[а-я]", "ж", "z"),
            ("[a&&b]", "&", "c"),
        ] {
            let globs = set(&[pattern]);
            assert_eq!(globs.first_match(yes), Some(0), "{pattern} {yes}");
            assert_eq!(globs.first_match(no), None, "{pattern} {no}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(problem(""), "empty pattern");
        assert_eq!(problem(&"x".repeat(257)), "pattern longer than 256 characters");
        assert_eq!(problem("ab[c"), "'[' at position 3 is never closed");
        assert_eq!(problem("[!]"), "'[' at position 1 is never closed");
        assert_eq!(problem("[a][z-b]"), "range 'z-b' runs backwards");
        assert!(GlobSet::new(["é".repeat(256)]).is_ok());
    }

    #[test]
    fn hostile_names_end() {
        let name = "a".repeat(1_000_000);
        assert_eq!(set(&["*a*a*a*b", &"*a".repeat(128)]).first_match(&name), Some(1));
    }
}
