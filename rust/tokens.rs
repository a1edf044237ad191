//! Token counts: exact ones of OpenAI's encodings, and a one-pass estimate for what is over the exact budget.
//!
//! Other providers' tokenizers differ by some 10-20 %: these are the common yardstick of the log, not a bill.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::bpe::{Splitter, Tokenizer};
use crate::error::Error;
pub use crate::estimate::estimate_tokens;
use crate::pieces::Pattern;

/// The encodings that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// GPT-4o and later.
    #[default]
    O200kBase,
    /// GPT-4 and GPT-3.5.
    Cl100kBase,
}

impl Encoding {
    /// The names of all encodings, in the order of the enum.
    pub const NAMES: [&'static str; 2] = ["o200k_base", "cl100k_base"];

    /// The name that [`FromStr`] reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
        }
    }

    fn tokenizer(self) -> &'static Tokenizer {
        match self {
            Self::O200kBase => &O200K_BASE,
            Self::Cl100kBase => &CL100K_BASE,
        }
    }
}

impl FromStr for Encoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "o200k_base" => Ok(Self::O200kBase),
            "cl100k_base" => Ok(Self::Cl100kBase),
            _ => Err(Error::Encoding(name.to_owned())),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Exact number of tokens in `text`, tiktoken's; markers such as `<|endoftext|>` count as ordinary text.
///
/// The first call for an encoding also does what [`warm`] does.
#[must_use]
pub fn count_tokens(text: &str, encoding: Encoding) -> usize {
    encoding.tokenizer().count(text)
}

/// Places of a text that [`sample_tokens`] counts exactly.
const SAMPLES: usize = 8;
/// Bytes at each of them, up to a whole character.
const SAMPLE_BYTES: usize = 512;
/// Bytes that [`sample_tokens`] counts exactly: there is no use in it for a shorter text.
pub const SAMPLED_BYTES: usize = SAMPLES * SAMPLE_BYTES;

/// Approximate number of tokens in `text`: the estimate, corrected by how far it is off on samples from all over the text.
///
/// Most of the estimator's error is the same all over a text, because it comes of its language or its kind.
#[must_use]
pub fn sample_tokens(text: &str, encoding: Encoding) -> usize {
    let (mut counted, mut guessed) = (0, 0);
    for index in 0..SAMPLES {
        let start = boundary(text, text.len() / SAMPLES * index);
        let sample = text.get(start..boundary(text, start + SAMPLE_BYTES)).unwrap_or_default();
        counted += count_tokens(sample, encoding);
        guessed += estimate_tokens(sample, encoding);
    }
    let guess = estimate_tokens(text, encoding);
    (guess * counted + guessed / 2).checked_div(guessed).unwrap_or(guess)
}

/// The last place in `text`, up to `at`, where a character begins or the text ends.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default()
}

/// Builds the tables of `encoding`, once per process.
pub fn warm(encoding: Encoding) {
    encoding.tokenizer();
}

// tiktoken's patterns without their last two alternatives, which the splitter adds. Possessive quantifiers are plain ones
// here, and `\s*[\r\n]` repeats its end: where they stand, they match the same.
#[rustfmt::skip]
const O200K_PATTERN: [&str; 5] = [
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+",
];
const CL100K_PATTERN: [&str; 6] = [
    r"'(?i:[sdmt]|ll|ve|re)",
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s+$",
    r"\s*[\r\n]+",
];

static O200K_BASE: LazyLock<Tokenizer> = LazyLock::new(|| {
    let splitter = Splitter::new(&O200K_PATTERN.join("|"), Some(Pattern::O200kBase));
    Tokenizer::new(include_bytes!("data/o200k_base.ranks"), splitter)
});
static CL100K_BASE: LazyLock<Tokenizer> = LazyLock::new(|| {
    let splitter = Splitter::new(&CL100K_PATTERN.join("|"), Some(Pattern::Cl100kBase));
    Tokenizer::new(include_bytes!("data/cl100k_base.ranks"), splitter)
});

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::O200kBase, Encoding::Cl100kBase];

    /// Every text of up to five of the characters that the patterns tell apart.
    #[test]
    fn plain_text_is_cut_as_the_patterns_cut_it() {
        for (pattern, plain) in
            [(O200K_PATTERN.join("|"), Pattern::O200kBase), (CL100K_PATTERN.join("|"), Pattern::Cl100kBase)]
        {
            let (with, without) = (Splitter::new(&pattern, Some(plain)), Splitter::new(&pattern, None));
            let mut texts = vec![String::new()];
            for _ in 0..5 {
                let longer = |text: &String| {
                    " aAslL'1\n\t!/é".chars().map(move |c| format!("{text}{c}")).collect::<Vec<_>>()
                };
                texts = texts.iter().flat_map(longer).collect();
                for text in &texts {
                    let (mut left, mut right) = (Vec::new(), Vec::new());
                    with.split(text, |piece| left.push(piece));
                    without.split(text, |piece| right.push(piece));
                    assert_eq!(left, right, "{plain:?}: {text:?}");
                    assert_eq!(left.concat(), text.as_bytes());
                }
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for (encoding, name) in BOTH.into_iter().zip(Encoding::NAMES) {
            assert_eq!((encoding.to_string().as_str(), name.parse()), (name, Ok(encoding)));
        }
        assert!(matches!("gpt2".parse::<Encoding>(), Err(Error::Encoding(_))));
    }

    #[test]
    fn counts_exactly() {
        // Counts of OpenAI's tiktoken 0.14.
        for (text, o200k, cl100k) in [
            ("", 0, 0),
            ("hello world", 2, 2),
            ("<|endoftext|>", 7, 7),
            ("The quick brown fox jumps over the lazy dog.", 10, 10),
            ("你好，世界", 3, 6),
            ("    indented\n\n\tcode();", 6, 6),
            ("DON'T don't Don'T", 5, 6),
            ("a \n \n  b\u{3000}\u{3000}c \n ", 9, 9),
        ] {
            assert_eq!(count_tokens(text, Encoding::O200kBase), o200k, "{text:?}");
            assert_eq!(count_tokens(text, Encoding::Cl100kBase), cl100k, "{text:?}");
        }
    }

    #[test]
    fn hostile_texts_end() {
        for unit in ["a", " ", "`", "\n", "é", "😀", " a", "1", "中", "\u{301}", "\n ", "/"] {
            let text = unit.repeat(1_000_000 / unit.len());
            for encoding in BOTH {
                assert!(count_tokens(&text, encoding) > 0);
                assert!(estimate_tokens(&text, encoding) < 2 * text.len());
            }
        }
    }
}
