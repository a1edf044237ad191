//! Bounded memo: hash of a text -> what was measured of it. A conversation that is sent again each turn costs its new part.
//!
//! No text is kept, only its hash: 128 bits of HighwayHash, a keyed pseudo-random function, under a key drawn at random for
//! each memo. Whoever chooses the texts knows neither key nor hashes, so that two texts meet by chance alone. The table is
//! bounded in bytes and forgets what was long not asked for; texts seen once make room first, so a flood of new ones does not
//! drive out a conversation that goes on. Locks are held for a look-up or an insertion, never while something is measured.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use highway::{HighwayHash, HighwayHasher};
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, UnitWeighter};

use crate::ask::Own;
use crate::learned::KnownSum;
use crate::structure::Structure;
use crate::words::WordCounts;

/// A shorter text is measured sooner than looked up.
const LEAST_BYTES: usize = 16;
/// With more parts than this in one request, only texts of [`LEAST_BYTES_OF_MANY`] are looked up: no client sends so many
/// in earnest, and measuring tiny texts costs less than filling the table with them.
const MANY_PARTS: usize = 4096;
const LEAST_BYTES_OF_MANY: usize = 1024;
/// What the table needs for an entry beyond key and value: links and padding, and up to four places of 5 bytes in its index,
/// which is half empty when it has just doubled.
const OVERHEAD: usize = 24 + 21;

/// Hash of a text.
pub type Key = u128;

/// What is known of a text wherever it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextStats {
    /// Its tokens.
    pub tokens: usize,
    /// Whether they were counted, not estimated.
    pub exact: bool,
    /// What it holds as a text of the user; None until it was one.
    pub own: Option<Own>,
}

/// What is known of a text as the newest ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskStats {
    /// Its structure.
    pub structure: Structure,
    /// Complex and simple keywords.
    pub keywords: (usize, usize),
    /// Its words, without their buckets.
    pub words: WordCounts,
    /// What they come to under a learned model.
    pub word_sum: KnownSum,
}

/// A text of a request: what was stored of it, and what the request found out since.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its hash; None if it is not to be looked up.
    pub key: Option<Key>,
    /// What was stored when the request came.
    pub stored: Option<TextStats>,
    /// What it holds as a text of the user.
    pub own: Option<Own>,
}

#[derive(Debug, Clone)]
enum Entry {
    Text(TextStats),
    Ask(AskStats),
}

/// Shared by all threads. What it holds depends on the settings of the analyzer it belongs to.
#[derive(Debug)]
pub struct Memo {
    key: [u64; 4],
    table: Cache<Key, Entry, UnitWeighter, BuildHasherDefault<KeyHasher>, Evictions>,
    capacity_bytes: usize,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Evictions,
}

/// Counts since the memo was made, and its size now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoStats {
    /// Texts whose token count was known.
    pub hits: u64,
    /// Texts that had to be counted or estimated, and were long enough to keep.
    pub misses: u64,
    /// Entries that made room for others.
    pub evictions: u64,
    /// Entries held: one a text, and one more for each that was an ask.
    pub entries: usize,
    /// Bytes that the table takes.
    pub bytes: usize,
    /// Bytes that it takes at most.
    pub capacity_bytes: usize,
}

impl Memo {
    /// A memo of at most `capacity_bytes`; None if that is too little for a single entry.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Option<Self> {
        let room = capacity_bytes - capacity_bytes / 16; // the rest is for the shards of the table
        let slots = room / (size_of::<Key>() + size_of::<Entry>() + OVERHEAD);
        // The table doubles as it grows, and remembers half as many keys of what it forgot as it holds: of each shard's
        // places nearly two thirds, so that what is rounded up in a shard does not double it once more.
        let texts = slots.checked_ilog2().map_or(0, |log| (1_usize << log) * 21 / 32);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(texts)
            .weight_capacity(texts as u64)
            .build()
            .ok()?;
        let (random, evictions) = (RandomState::new(), Evictions::default());
        (texts > 0).then(|| Self {
            key: [0_u64, 1, 2, 3].map(|word| random.hash_one(word)),
            table: Cache::with_options(
                options,
                UnitWeighter,
                BuildHasherDefault::default(),
                evictions.clone(),
            ),
            capacity_bytes,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions,
        })
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> MemoStats {
        MemoStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.0.load(Ordering::Relaxed),
            entries: self.table.len(),
            bytes: self.table.memory_used().total(),
            capacity_bytes: self.capacity_bytes,
        }
    }

    fn hash(&self, text: &str) -> Key {
        let [low, high] = HighwayHasher::new(highway::Key(self.key)).hash128(text.as_bytes());
        Key::from(high) << 64 | Key::from(low)
    }
}

/// The memo as one request sees it. Without a memo nothing is ever known.
#[derive(Debug)]
pub struct Recall<'m> {
    memo: Option<&'m Memo>,
    least_bytes: usize,
    hits: u64,
    misses: u64,
}

impl<'m> Recall<'m> {
    /// For a request of so many parts.
    #[must_use]
    pub fn new(memo: Option<&'m Memo>, parts: usize) -> Self {
        let least_bytes = if parts > MANY_PARTS { LEAST_BYTES_OF_MANY } else { LEAST_BYTES };
        Self { memo, least_bytes, hits: 0, misses: 0 }
    }

    /// What is known of `text` so far.
    #[must_use]
    pub fn known(&self, text: &str) -> Known {
        let key = self.memo.filter(|_| text.len() >= self.least_bytes).map(|memo| memo.hash(text));
        let stored = self.text(key);
        Known { key, stored, own: stored.and_then(|stats| stats.own) }
    }

    /// What is stored of the text with this key.
    #[must_use]
    pub fn text(&self, key: Option<Key>) -> Option<TextStats> {
        match self.memo?.table.get(&key?)? {
            Entry::Text(stats) => Some(stats),
            Entry::Ask(_) => None,
        }
    }

    /// Keeps `stats` of the text with this key.
    pub fn keep_text(&self, key: Option<Key>, stats: TextStats) {
        if let (Some(memo), Some(key)) = (self.memo, key) {
            memo.table.insert(key, Entry::Text(stats));
        }
    }

    /// What is known of the text with this key as an ask.
    #[must_use]
    pub fn ask(&self, key: Option<Key>) -> Option<AskStats> {
        match self.memo?.table.get(&as_ask(key?))? {
            Entry::Ask(stats) => Some(stats),
            Entry::Text(_) => None,
        }
    }

    /// Keeps `stats` of the text with this key as an ask.
    pub fn keep_ask(&self, key: Option<Key>, stats: &AskStats) {
        if let (Some(memo), Some(key)) = (self.memo, key) {
            memo.table.insert(as_ask(key), Entry::Ask(*stats));
        }
    }

    /// Counts a token count that was known, or was not.
    pub fn count(&mut self, key: Option<Key>, known: bool) {
        if key.is_some() {
            self.hits += u64::from(known);
            self.misses += u64::from(!known);
        }
    }
}

impl Drop for Recall<'_> {
    // Once a request, not once a text: a counter that all threads write is dear.
    fn drop(&mut self) {
        if let Some(memo) = self.memo {
            memo.hits.fetch_add(self.hits, Ordering::Relaxed);
            memo.misses.fetch_add(self.misses, Ordering::Relaxed);
        }
    }
}

/// Another key for the same text: its entry as an ask stands beside the one it has as a part.
fn as_ask(key: Key) -> Key {
    !key
}

/// The keys are hashes already.
#[derive(Debug, Clone, Copy, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        // The way of hashing anything but a key; no such thing is hashed here.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    #[allow(clippy::cast_possible_truncation)] // half of the bits are enough to find a place
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// Counts what the table forgets.
#[derive(Debug, Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Key, Entry> for Evictions {
    type RequestState = ();

    // Not `on_evict`, which is called for an entry that is written anew, too.
    fn before_evict(&self, (): &mut (), _: &Key, _: &mut Entry) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
