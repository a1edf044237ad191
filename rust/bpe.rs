//! Byte-pair encoding as tiktoken does it, for counting: split the text by the encoding's pattern, then merge each piece.
//!
//! The tokens' bytes are embedded as they are (`rust/data/`); a table over them is all that is built. The result is tiktoken's
//! on every input, and the time grows no faster than n log n with the length of a piece, whatever is in it.

use std::collections::BTreeMap;

use regex_automata::meta::{Cache, Regex};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input};

use crate::pieces::{Pattern, piece_end};
use crate::ranks::{Rank, Ranks};

const NO_RANK: Rank = Rank::MAX;

/// Pieces up to so many bytes are merged by looking at all pairs each time: faster than lists by rank while they are few.
const SHORT: usize = 128;

/// One encoding, ready to count.
pub(crate) struct Tokenizer {
    ranks: Ranks,
    splitter: Splitter,
}

impl Tokenizer {
    /// `packed`: a rank list as `rust/data/make.py` writes it.
    pub(crate) fn new(packed: &'static [u8], splitter: Splitter) -> Self {
        Self { ranks: Ranks::new(unpack(packed)), splitter }
    }

    /// Number of tokens in `text`; nothing in it is a special token.
    pub(crate) fn count(&self, text: &str) -> usize {
        let merger = Merger(&self.ranks);
        let mut total = 0;
        self.splitter.split(text, |piece| total += merger.count(piece));
        total
    }
}

/// The tokens of a rank list, in order of their ranks.
fn unpack(packed: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let (count, rest) = packed.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    let (lengths, mut bytes) = rest.split_at(u32::from_le_bytes(*count) as usize);
    lengths.iter().map(move |&length| {
        let (token, rest) = bytes.split_at(usize::from(length));
        bytes = rest;
        token
    })
}

/// Cuts a text into the pieces that no token crosses.
pub(crate) struct Splitter {
    plain: Option<Pattern>,
    regex: Regex,
    caches: Pool<
        Cache,
        Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>,
    >,
}

impl Splitter {
    /// `pattern`: what splits a text, without the last two alternatives of tiktoken's, `\s+(?!\S)` and `\s+`, which are
    /// added here. `plain`: the same pattern for ASCII; without it every piece is matched.
    #[allow(clippy::expect_used)] // of two patterns that stand in this crate: no input makes them wrong
    pub(crate) fn new(pattern: &str, plain: Option<Pattern>) -> Self {
        // tiktoken's `\s+(?!\S)|\s+` needs a look-ahead, which no automaton has: the second pattern takes the whole run of
        // white space, and `split` gives its last character back.
        let regex = Regex::new_many(&[pattern, r"\s+"]).expect("a pattern of this crate");
        let model = regex.clone();
        Self { plain, regex, caches: Pool::new(Box::new(move || model.create_cache())) }
    }

    /// Calls `visit` with each piece of `text`, in order.
    pub(crate) fn split<'t>(&self, text: &'t str, mut visit: impl FnMut(&'t [u8])) {
        let bytes = text.as_bytes();
        let mut cache = None;
        let mut start = 0;
        while start < bytes.len() {
            let plain = self.plain.and_then(|pattern| piece_end(bytes, start, pattern));
            let end =
                plain.or_else(|| self.match_end(text, start, cache.get_or_insert_with(|| self.caches.get())));
            let Some(end) = end.filter(|&end| end > start) else { break }; // there is a match everywhere
            visit(bytes.get(start..end).unwrap_or_default());
            start = end;
        }
    }

    /// Where the match that begins at `start` ends.
    fn match_end(&self, text: &str, start: usize, cache: &mut Cache) -> Option<usize> {
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        let found = self.regex.search_with(cache, &input)?;
        let end = found.end();
        if found.pattern().as_usize() == 0 || end == text.len() {
            return Some(end);
        }
        let run = text.get(start..end)?;
        let last = run.chars().next_back().map_or(0, char::len_utf8);
        Some(if last < run.len() { end - last } else { end })
    }
}

struct Merger<'r>(&'r Ranks);

impl Merger<'_> {
    /// Number of tokens in `piece`: while two neighbours make a token, those that make the one of lowest rank, the leftmost
    /// of them, are merged.
    fn count(&self, piece: &[u8]) -> usize {
        if piece.len() == 1 || self.0.contains(piece) {
            1
        } else if piece.len() <= SHORT {
            self.count_short(piece)
        } else {
            self.count_long(piece)
        }
    }

    fn rank(&self, piece: &[u8], start: usize, end: usize) -> Rank {
        piece.get(start..end).and_then(|bytes| self.0.get(bytes)).unwrap_or(NO_RANK)
    }

    fn count_short(&self, piece: &[u8]) -> usize {
        // Where each part starts, and the rank of the token that it and its right neighbour would make.
        let mut starts = [0; SHORT + 2];
        let mut ranks = [NO_RANK; SHORT];
        for (index, start) in starts.iter_mut().take(piece.len() + 2).enumerate() {
            *start = index.min(piece.len());
        }
        for (index, rank) in ranks.iter_mut().take(piece.len() - 1).enumerate() {
            *rank = self.rank(piece, index, index + 2);
        }
        let mut parts = piece.len();
        loop {
            let ranked = ranks.get(..parts).unwrap_or_default();
            let lowest = ranked.iter().copied().min().unwrap_or(NO_RANK);
            if lowest == NO_RANK {
                return parts;
            }
            let at = ranked.iter().position(|&rank| rank == lowest).unwrap_or_default();
            starts.copy_within(at + 2..parts + 2, at + 1);
            ranks.copy_within(at + 1..parts, at);
            parts -= 1;
            for left in at.saturating_sub(1)..=at {
                if let (Some(rank), Some(&[start, _, end])) =
                    (ranks.get_mut(left), starts.get(left..left + 3).and_then(|s| s.first_chunk()))
                {
                    *rank = if left + 1 < parts { self.rank(piece, start, end) } else { NO_RANK };
                }
            }
        }
    }

    fn count_long(&self, piece: &[u8]) -> usize {
        let mut parts: Vec<Part> = (0..piece.len())
            .map(|start| Part {
                previous: start.wrapping_sub(1),
                end: start + 1,
                rank: self.rank(piece, start, start + 2),
            })
            .collect();
        // By rank, where the left parts of the pairs start. A merge makes pairs of higher ranks only: a token is younger than
        // what it is made of. So no list grows while it is worked off, and each is sorted once.
        let mut pairs: BTreeMap<Rank, Vec<usize>> = BTreeMap::new();
        for (start, part) in parts.iter().enumerate() {
            pairs.entry(part.rank).or_default().push(start);
        }
        pairs.remove(&NO_RANK);
        let mut count = parts.len();
        while let Some((rank, mut starts)) = pairs.pop_first() {
            starts.sort_unstable();
            for start in starts {
                // Unless one of the two was merged with another since.
                if parts.get(start).is_some_and(|part| part.rank == rank) {
                    count -= 1;
                    self.merge(piece, &mut parts, start, |rank, start| {
                        pairs.entry(rank).or_default().push(start)
                    });
                }
            }
        }
        count
    }

    /// Merges the part at `start` with the next one, and tells the new pairs that can be merged.
    fn merge(&self, piece: &[u8], parts: &mut [Part], start: usize, mut tell: impl FnMut(Rank, usize)) {
        let Some(&Part { previous, end: middle, .. }) = parts.get(start) else { return };
        let Some(right) = parts.get_mut(middle) else { return };
        right.rank = NO_RANK;
        let end = right.end;
        let after_end = parts.get_mut(end).map(|after| {
            after.previous = start;
            after.end
        });
        let rank = after_end.map_or(NO_RANK, |after_end| self.rank(piece, start, after_end));
        if let Some(part) = parts.get_mut(start) {
            *part = Part { previous, end, rank };
        }
        if rank != NO_RANK {
            tell(rank, start);
        }
        if let Some(left) = parts.get_mut(previous) {
            left.rank = self.rank(piece, previous, end);
            if left.rank != NO_RANK {
                tell(left.rank, previous);
            }
        }
    }
}

/// A part of a long piece, by where it starts: it ends where the next one starts.
struct Part {
    /// Where the part before it starts; out of range for the first one.
    previous: usize,
    end: usize,
    /// Of the token that it and the next part would make.
    rank: Rank,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merging as it is defined: while two neighbours make a token, the leftmost pair that makes the one of lowest rank.
    fn plainly(piece: &[u8], ranks: &Ranks) -> usize {
        let mut parts: Vec<&[u8]> = piece.chunks(1).collect();
        loop {
            let pairs = parts.windows(2).enumerate();
            let lowest =
                pairs.filter_map(|(at, pair)| Some((ranks.get(pair.concat().as_slice())?, at))).min();
            let Some((_, at)) = lowest else { return parts.len() };
            let start = parts[at].as_ptr() as usize - piece.as_ptr() as usize;
            let end = start + parts[at].len() + parts[at + 1].len();
            parts.splice(at..at + 2, [&piece[start..end]]);
        }
    }

    #[test]
    fn both_ways_to_merge_are_plain_merging() {
        let tokenizer = Tokenizer::new(include_bytes!("data/cl100k_base.ranks"), Splitter::new(r"\S+", None));
        let merger = Merger(&tokenizer.ranks);
        let units = [
            "a",
            "`",
            "ab",
            "antidisestablishmentarianism",
            "中文字符",
            "é",
            "xyzzy//..--",
            "😀",
            "\0",
            "aB1_",
        ];
        let mut pieces: Vec<String> = units.iter().map(|unit| unit.repeat(200)).collect();
        pieces.push(units.concat().repeat(5));
        pieces.push(('\u{100}'..'\u{400}').collect());
        for piece in &pieces {
            for length in [2, 3, 7, 31, SHORT - 1, SHORT, SHORT + 1, 300] {
                let piece = &piece.as_bytes()[..length.min(piece.len())];
                let tokens = plainly(piece, &tokenizer.ranks);
                assert_eq!(merger.count(piece), tokens, "{length}");
                assert_eq!(merger.count_long(piece), tokens, "{length}");
                if piece.len() <= SHORT {
                    assert_eq!(merger.count_short(piece), tokens, "{length}");
                }
            }
        }
    }

    #[test]
    fn rank_lists_are_whole() {
        for (packed, count) in [
            (&include_bytes!("data/o200k_base.ranks")[..], 199_998),
            (include_bytes!("data/cl100k_base.ranks"), 100_256),
        ] {
            let tokens: Vec<_> = unpack(packed).collect();
            assert_eq!(tokens.len(), count);
            assert_eq!(4 + count + tokens.iter().map(|token| token.len()).sum::<usize>(), packed.len());
            let singles = tokens.iter().filter(|token| token.len() == 1).count();
            assert_eq!(singles, 256, "every byte is a token, so every text has a count");
        }
    }

    #[test]
    fn splits_white_space_as_the_look_ahead_would() {
        let splitter = Splitter::new(r"[^\s]+", None);
        for (text, pieces) in [
            ("a  b", vec!["a", " ", " ", "b"]),
            ("a   b", vec!["a", "  ", " ", "b"]),
            ("a  ", vec!["a", "  "]),
            (" \u{3000}\u{3000}a", vec![" \u{3000}", "\u{3000}", "a"]),
        ] {
            let mut found = vec![];
            splitter.split(text, |piece| found.push(std::str::from_utf8(piece).unwrap()));
            assert_eq!(found, pieces);
        }
    }
}
