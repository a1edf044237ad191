use std::collections::HashSet;
use std::thread;

use super::*;

/// What the locks and counters of the shards take at most: there are up to four shards a processor, rounded up.
fn shards_bytes() -> usize {
    8 * 512 * thread::available_parallelism().unwrap().get()
}

fn text(number: usize) -> String {
    format!("text number {number}, long enough to be looked up")
}

fn stats_of(text: &str) -> TextStats {
    TextStats { tokens: text.len(), exact: true, own: None }
}

/// Looks each text up as a request does; how many were known, each with its own stats.
fn request(memo: &Memo, texts: impl Iterator<Item = String>) -> usize {
    let mut recall = Recall::new(Some(memo), 1);
    let mut hits = 0;
    for text in texts {
        let known = recall.known(&text);
        recall.count(known.key, known.stored.is_some());
        match known.stored {
            Some(stored) => {
                assert_eq!(stored, stats_of(&text));
                hits += 1;
            }
            None => recall.keep_text(known.key, stats_of(&text)),
        }
    }
    hits
}

#[test]
fn a_flood_of_texts_stays_within_the_bytes_given() {
    for capacity_bytes in [4 << 10, 100_000, 1 << 20, 3_000_000, 16 << 20] {
        let mut made = None;
        let taken = allocation_counter::measure(|| {
            let memo = Memo::new(capacity_bytes).unwrap();
            assert_eq!(request(&memo, (0..200_000).map(text)), 0);
            made = Some(memo);
        });
        let stats = made.unwrap().stats();
        assert!(stats.bytes <= capacity_bytes, "{stats:?}");
        assert!(stats.bytes * 3 > capacity_bytes, "and makes use of them: {stats:?}");
        // The allocator agrees, up to the locks and counters of the shards and what is not yet used of the table.
        assert!(taken.bytes_current as usize <= capacity_bytes + shards_bytes(), "{taken:?} for {stats:?}");
        assert_eq!(stats.evictions, 200_000 - stats.entries as u64, "{stats:?}");
        assert_eq!((stats.hits, stats.misses, stats.capacity_bytes), (0, 200_000, capacity_bytes));
    }
}

#[test]
fn any_capacity_is_kept() {
    for capacity_bytes in (0..8192).step_by(64).chain((8192..400_000).step_by(7919)) {
        let Some(memo) = Memo::new(capacity_bytes) else { continue };
        request(&memo, (0..3 * capacity_bytes / 128).map(text));
        let stats = memo.stats();
        assert!(stats.bytes <= capacity_bytes && stats.entries > 0, "{stats:?}");
    }
}

#[test]
fn asks_count_as_entries_and_are_bounded_too() {
    let memo = Memo::new(100_000).unwrap();
    let recall = Recall::new(Some(&memo), 1);
    let stats = AskStats {
        structure: Structure { words: 3, ..Structure::default() },
        keywords: (1, 2),
        words: WordCounts::default(),
        word_sum: KnownSum::default(),
    };
    for number in 0..10_000 {
        recall.keep_ask(recall.known(&text(number)).key, &stats);
    }
    assert!(memo.stats().bytes <= 100_000 && memo.stats().entries < 1000, "{:?}", memo.stats());
    assert!(memo.stats().evictions > 9000);
}

#[test]
fn too_few_bytes_for_an_entry_are_no_memo() {
    assert!(Memo::new(0).is_none());
    assert!(Memo::new(size_of::<Key>() + size_of::<Entry>()).is_none());
    let least = (0..1000).find(|&bytes| Memo::new(bytes).is_some()).unwrap();
    let memo = Memo::new(least).unwrap();
    request(&memo, (0..100).map(text));
    assert!(memo.stats().entries >= 1, "{:?}", memo.stats());
}

/// A conversation of 300 texts, in a memo for some 2700, while 10,000 other texts come between its turns: more than are
/// held or remembered to have been held. What only forgets the oldest would know none of them.
#[test]
fn a_conversation_survives_floods() {
    let conversation = || (0..300).map(text);
    let mut flooded = (1_000_000..).step_by(10_000).map(|from| (from..from + 10_000).map(text));
    let held = |memo: &Memo| memo.stats().entries;

    // It begins in an empty memo.
    let memo = Memo::new(1 << 20).unwrap();
    request(&memo, conversation());
    for _ in 0..10 {
        request(&memo, flooded.next().unwrap());
        assert_eq!(request(&memo, conversation()), 300);
    }
    assert!((2000..4000).contains(&held(&memo)), "{}", held(&memo));

    // It begins in one that is full of what came once: a few turns with little between them make it stay.
    let memo = Memo::new(1 << 20).unwrap();
    request(&memo, flooded.next().unwrap());
    for _ in 0..4 {
        request(&memo, conversation());
        request(&memo, flooded.next().unwrap().take(100));
    }
    for _ in 0..10 {
        assert_eq!(request(&memo, conversation()), 300);
        request(&memo, flooded.next().unwrap());
    }
}

#[test]
fn what_is_no_longer_used_makes_room() {
    let memo = Memo::new(1 << 20).unwrap();
    // Together far more than it holds. Which texts come late is chance: the places follow from a random key.
    for conversation in 0..20 {
        let turn = || request(&memo, (0..500).map(|number| text(conversation * 500 + number)));
        for _ in 0..9 {
            turn();
        }
        let known = turn();
        assert!(known >= 450, "{known} of conversation {conversation}");
    }
}

#[test]
fn each_memo_has_a_key_of_its_own() {
    let hashes: HashSet<Key> = (0..100).map(|_| Memo::new(1 << 12).unwrap().hash("the same text")).collect();
    assert_eq!(hashes.len(), 100);
    let memo = Memo::new(1 << 12).unwrap();
    assert_eq!(memo.hash("the same text"), memo.hash("the same text"));
}

/// Lengths on both sides of the blocks of the hash, and each single bit: all hashes differ, in both halves.
#[test]
fn similar_texts_have_hashes_of_their_own() {
    let memo = Memo::new(1 << 12).unwrap();
    let mut seen: [HashSet<u64>; 2] = [HashSet::new(), HashSet::new()];
    let mut add = |text: &str| {
        let key = memo.hash(text);
        let new = [seen[0].insert(key as u64), seen[1].insert((key >> 64) as u64)];
        assert_eq!(new, [true, true], "{text:?}");
    };
    for length in 0..200 {
        let zeros = "\0".repeat(length);
        add(&zeros);
        for bit in 0..length * 7 {
            let mut bytes = zeros.clone().into_bytes();
            bytes[bit / 7] ^= 1 << (bit % 7); // ASCII stays UTF-8
            add(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[test]
fn a_text_and_the_ask_of_its_words_do_not_meet() {
    let memo = Memo::new(1 << 20).unwrap();
    let recall = Recall::new(Some(&memo), 1);
    let ask = AskStats {
        structure: Structure { lines: 7, ..Structure::default() },
        keywords: (1, 2),
        words: WordCounts::default(),
        word_sum: KnownSum::default(),
    };
    let (first, second) = (recall.known(&text(1)).key, recall.known(&text(2)).key);
    recall.keep_text(first, stats_of("first"));
    assert_eq!((recall.text(first), recall.ask(first)), (Some(stats_of("first")), None));
    recall.keep_ask(second, &ask);
    assert_eq!((recall.text(second), recall.ask(second)), (None, Some(ask)));
    recall.keep_ask(first, &ask);
    assert_eq!((recall.text(first), recall.ask(first)), (Some(stats_of("first")), Some(ask)));
    assert_eq!(memo.stats().entries, 3);
}

#[test]
fn short_texts_are_not_looked_up() {
    let memo = Memo::new(1 << 20).unwrap();
    let looked_up = |parts, bytes| Recall::new(Some(&memo), parts).known(&"x".repeat(bytes)).key.is_some();
    assert_eq!([0, 15, 16, 17].map(|bytes| looked_up(1, bytes)), [false, false, true, true]);
    assert_eq!([15, 16].map(|bytes| looked_up(MANY_PARTS, bytes)), [false, true]);
    assert_eq!([16, 1023, 1024].map(|bytes| looked_up(MANY_PARTS + 1, bytes)), [false, false, true]);
    assert!(!looked_up(1, "é".len() * 7), "bytes count, not characters");
}

#[test]
fn without_a_memo_nothing_is_known() {
    let mut recall = Recall::new(None, 1);
    let known = recall.known(&text(1));
    assert!(known.key.is_none() && known.stored.is_none());
    recall.count(known.key, false);
    recall.keep_text(Some(1), stats_of("x"));
    assert_eq!((recall.text(Some(1)), recall.ask(Some(1))), (None, None));
}

#[test]
fn hits_and_misses_are_counted_at_the_end_of_a_request() {
    let memo = Memo::new(1 << 20).unwrap();
    let counted = || (memo.stats().hits, memo.stats().misses);
    assert_eq!(request(&memo, [1, 2, 1].map(text).into_iter()), 1);
    assert_eq!(counted(), (1, 2));
    assert_eq!(request(&memo, ["short".to_owned(), text(2), text(3)].into_iter()), 1);
    assert_eq!(counted(), (2, 3), "a short text is neither");
    let mut recall = Recall::new(Some(&memo), 1);
    recall.count(Some(1), true);
    assert_eq!(counted(), (2, 3));
    drop(recall);
    assert_eq!(counted(), (3, 3));
}

#[test]
fn an_entry_that_is_written_anew_is_no_eviction() {
    let memo = Memo::new(1 << 20).unwrap();
    let recall = Recall::new(Some(&memo), 1);
    let key = recall.known(&text(1)).key;
    let own = Some(Own { harness_bytes: 3, empty: false });
    recall.keep_text(key, stats_of("x"));
    recall.keep_text(key, TextStats { own, ..stats_of("x") });
    assert_eq!(recall.known(&text(1)).own, own);
    assert_eq!((memo.stats().entries, memo.stats().evictions), (1, 0));
}

#[test]
fn many_threads_get_the_answers_of_one() {
    for capacity_bytes in [1 << 14, 1 << 20] {
        let memo = Memo::new(capacity_bytes).unwrap();
        thread::scope(|scope| {
            for shift in 0..8 {
                let memo = &memo;
                // `request` asserts that each text that is known has its own stats.
                scope.spawn(move || {
                    for round in 0..20 {
                        request(memo, (0..500).map(|number| text(number + shift * 100 + round)));
                    }
                });
            }
        });
        let stats = memo.stats();
        assert_eq!(stats.hits + stats.misses, 8 * 20 * 500);
        assert!(stats.bytes <= capacity_bytes && stats.hits > 0, "{stats:?}");
    }
}
