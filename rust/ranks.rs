//! The tokens of an encoding by their bytes: what byte-pair encoding asks a hundred times for every request.
//!
//! Between two requests a server does a thousand times as much else, so the table is never in the nearest cache and what counts
//! is how many cache lines a question touches. Tokens of up to seven bytes, nearly all that are asked for, lie in a table
//! where their bytes are the key itself: one line, mostly, instead of the three of a hash map of slices.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

/// Position of a token in the rank list: the lower one is merged first.
pub(crate) type Rank = u32;

/// Longest token whose bytes fit into a key, beside their number.
const SHORT: usize = 7;
/// A key that no token has.
const FREE: u64 = 0;

/// The ranks of all tokens of one encoding.
pub(crate) struct Ranks {
    /// Open addressing: a key stands at its place or, if that was taken, soon behind it. At most half of the places are taken.
    keys: Box<[u64]>,
    /// At the same place as the key.
    ranks: Box<[Rank]>,
    long: HashMap<&'static [u8], Rank, FxBuildHasher>,
}

impl Ranks {
    /// `tokens` in the order of their ranks.
    pub(crate) fn new(tokens: impl Iterator<Item = &'static [u8]> + Clone) -> Self {
        let places = (2 * tokens.clone().filter_map(key).count()).next_power_of_two();
        let mut table =
            Self { keys: vec![FREE; places].into(), ranks: vec![0; places].into(), long: HashMap::default() };
        for (token, rank) in tokens.zip(0..) {
            match key(token) {
                Some(key) => table.insert(key, rank),
                None => _ = table.long.insert(token, rank),
            }
        }
        table
    }

    fn insert(&mut self, key: u64, rank: Rank) {
        let place = self.place(key);
        if let (Some(there), Some(its)) = (self.keys.get_mut(place), self.ranks.get_mut(place)) {
            (*there, *its) = (key, rank);
        }
    }

    /// Whether `bytes` are a token.
    pub(crate) fn contains(&self, bytes: &[u8]) -> bool {
        match key(bytes) {
            Some(key) => self.keys.get(self.place(key)) == Some(&key),
            None => self.long.contains_key(bytes),
        }
    }

    /// The rank of the token `bytes`; None if they are none.
    pub(crate) fn get(&self, bytes: &[u8]) -> Option<Rank> {
        let Some(key) = key(bytes) else { return self.long.get(bytes).copied() };
        let place = self.place(key);
        if self.keys.get(place) == Some(&key) { self.ranks.get(place).copied() } else { None }
    }

    /// Where `key` stands, or else the free place where it would.
    #[allow(clippy::cast_possible_truncation)] // less than the number of places
    fn place(&self, key: u64) -> usize {
        // The upper bits of a product depend on all bits of both factors.
        let spread = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut place = (spread >> (u64::BITS - self.keys.len().ilog2())) as usize;
        while self.keys.get(place).is_some_and(|&there| there != key && there != FREE) {
            place = (place + 1) % self.keys.len();
        }
        place
    }
}

/// The bytes of a short token, and how many they are, in one number.
fn key(bytes: &[u8]) -> Option<u64> {
    let packed = || bytes.iter().fold(bytes.len() as u64, |key, &byte| key << u8::BITS | u64::from(byte));
    (1..=SHORT).contains(&bytes.len()).then(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        let tokens: [&[u8]; 9] = [
            b"a",
            b"b",
            b"ab",
            b"\0",
            b"\0\0",
            b"1234567",
            b"12345678",
            b"\xff\xff\xff\xff\xff\xff\xff",
            b"long token",
        ];
        let ranks = Ranks::new(tokens.into_iter());
        for (token, rank) in tokens.into_iter().zip(0..) {
            assert_eq!((ranks.get(token), ranks.contains(token)), (Some(rank), true), "{token:?}");
        }
        for other in [&b""[..], b"c", b"ba", b"\0\0\0", b"123456", b"123456789", b"long", b"\xff"] {
            assert_eq!((ranks.get(other), ranks.contains(other)), (None, false), "{other:?}");
        }
    }

    #[test]
    fn a_full_table_wraps_around() {
        let bytes: Vec<u8> = (0..=255).collect();
        let bytes: &'static [u8] = bytes.leak();
        let ranks = Ranks::new(bytes.chunks(1));
        assert!(bytes.chunks(1).zip(0..).all(|(token, rank)| ranks.get(token) == Some(rank)));
    }
}
