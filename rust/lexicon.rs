//! Keyword sets, matched on whole words, case-folded, in any script, all at once.
//!
//! A keyword ending in `*` matches any word that begins so (`refactor*`: refactoring). The space inside a keyword matches
//! any one white-space character. In scripts without spaces a keyword matches anywhere.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;

use crate::chars::{fold, is_word};
use crate::error::Error;

/// Longest keyword, in characters.
pub const MAX_KEYWORD: usize = 128;

/// Lists of keywords. Duplicates in one list after folding count once.
#[derive(Debug)]
pub struct Lexicon<const LISTS: usize> {
    automaton: AhoCorasick,
    stems: Vec<Stem>,
}

#[derive(Debug)]
struct Stem {
    /// Which of the lists it is of.
    list: usize,
    /// Matches longer words, too.
    prefix: bool,
    starts_in_word: bool,
    ends_in_word: bool,
}

impl<const LISTS: usize> Lexicon<LISTS> {
    /// Compiles the `lists` of keywords into one automaton, so that a text is read once for all of them.
    ///
    /// # Errors
    /// [`Error::Keyword`] for the first bad one, [`Error::Lexicon`] if they are too many for one automaton.
    pub fn new<S: AsRef<str>>(lists: [&[S]; LISTS]) -> Result<Self, Error> {
        let mut texts: Vec<String> = Vec::new();
        let mut stems: Vec<Stem> = Vec::new();
        let mut known: HashMap<(usize, String), usize> = HashMap::new();
        let keywords = lists
            .iter()
            .enumerate()
            .flat_map(|(list, keywords)| keywords.iter().map(move |word| (list, word)));
        for (list, keyword) in keywords {
            let folded = fold(keyword.as_ref());
            let text = folded.strip_suffix('*').unwrap_or(&folded);
            if let Some(problem) = check(text) {
                return Err(Error::Keyword { keyword: keyword.as_ref().to_owned(), problem });
            }
            let prefix = text.len() < folded.len();
            // `design` and `design*` in one list are one keyword, the wider one.
            if let Some(stem) = known.get(&(list, text.to_owned())).and_then(|&at| stems.get_mut(at)) {
                stem.prefix |= prefix;
                continue;
            }
            known.insert((list, text.to_owned()), stems.len());
            stems.push(Stem {
                list,
                prefix,
                starts_in_word: text.chars().next().is_some_and(is_word),
                ends_in_word: text.chars().next_back().is_some_and(is_word),
            });
            texts.push(text.to_owned());
        }
        let automaton = AhoCorasick::new(&texts).map_err(|error| Error::Lexicon(error.to_string()))?;
        Ok(Self { automaton, stems })
    }

    /// How many different keywords of each list occur in `folded`, a text that [`fold`] made.
    #[must_use]
    pub fn count(&self, folded: &str) -> [usize; LISTS] {
        let mut counts = [0; LISTS];
        let mut found = vec![false; self.stems.len()];
        for hit in self.automaton.find_overlapping_iter(folded) {
            let at = hit.pattern().as_usize();
            let (Some(seen), Some(stem)) = (found.get_mut(at), self.stems.get(at)) else { continue };
            if !*seen && stem.stands_alone(folded, hit.start(), hit.end()) {
                *seen = true;
                if let Some(count) = counts.get_mut(stem.list) {
                    *count += 1;
                }
            }
        }
        counts
    }
}

impl Stem {
    fn stands_alone(&self, text: &str, start: usize, end: usize) -> bool {
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text.get(end..).and_then(|text| text.chars().next());
        let starts = !(self.starts_in_word && before.is_some_and(is_word));
        let ends = self.prefix || !(self.ends_in_word && after.is_some_and(is_word));
        starts && ends
    }
}

fn check(stem: &str) -> Option<String> {
    let trimmed = stem.trim_matches(' ');
    if trimmed.is_empty() {
        return Some("empty keyword".to_owned());
    }
    if trimmed != stem {
        return Some("keyword begins or ends with a space".to_owned());
    }
    (stem.chars().count() > MAX_KEYWORD).then(|| format!("keyword longer than {MAX_KEYWORD} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(keywords: &[&str], text: &str) -> usize {
        Lexicon::new([keywords]).unwrap().count(&fold(text))[0]
    }

    #[test]
    fn whole_words_only() {
        assert_eq!(count(&["hi"], "this is it"), 0);
        assert_eq!(count(&["hi"], "Hi!"), 1);
        assert_eq!(count(&["hi"], "(HI) hi"), 1);
        assert_eq!(count(&["hi"], "hi_there"), 0);
        assert_eq!(count(&["été"], "L'ÉTÉ"), 1);
        assert_eq!(count(&["c++"], "in C++17"), 1, "a word may follow what ends in no word character");
    }

    #[test]
    fn prefixes() {
        assert_eq!(count(&["refactor*"], "Refactoring"), 1);
        assert_eq!(count(&["refactor*"], "unrefactored"), 0);
        assert_eq!(count(&["refactor"], "refactoring"), 0);
        assert_eq!(count(&["design*", "DESIGN"], "designer"), 1);
        assert_eq!(count(&["design", "design*"], "a design"), 1);
    }

    #[test]
    fn any_space_and_unspaced_scripts() {
        assert_eq!(count(&["step by step"], "STEP\u{a0}by\nstep"), 1);
        assert_eq!(count(&["step by step"], "step  by step"), 0);
        assert_eq!(count(&["分析"], "请分析这个"), 1);
        assert_eq!(count(&["설계"], "설계를"), 1);
    }

    #[test]
    fn overlapping_keywords_count_each() {
        assert_eq!(count(&["what is", "is", "what", "is it"], "what is it"), 4);
        assert_eq!(count(&["a a"], "aa a a"), 1, "a later occurrence counts where the first does not");
        assert_eq!(count(&[], "anything"), 0);
    }

    #[test]
    fn says_what_is_wrong() {
        let problem = |keyword: &str| match Lexicon::new([&[keyword]]).unwrap_err() {
            Error::Keyword { problem, .. } => problem,
            other => panic!("{other}"),
        };
        assert_eq!(problem(""), "empty keyword");
        assert_eq!(problem("\t*"), "empty keyword");
        assert_eq!(problem(" a"), "keyword begins or ends with a space");
        assert_eq!(problem("a\u{3000}*"), "keyword begins or ends with a space");
        assert_eq!(problem(&"x".repeat(129)), "keyword longer than 128 characters");
        assert!(Lexicon::new([&[format!("{}*", "é".repeat(128))]]).is_ok());
    }

    #[test]
    fn lists_are_counted_apart() {
        let lexicon = Lexicon::new([&["prove", "proof", "both"][..], &["hi", "both"]]).unwrap();
        assert_eq!(lexicon.count("hi, prove both, prove it"), [2, 2]);
    }
}
