use std::collections::HashSet;

use super::*;
use crate::chars::fold;
use crate::features::FEATURE_NAMES;

fn counts(text: &str) -> WordCounts {
    words(text, |_| ())
}

fn buckets(text: &str) -> Vec<u32> {
    let mut met = Vec::new();
    let counts = words(text, |bucket| met.push(bucket));
    assert_eq!(met.iter().collect::<HashSet<_>>().len(), met.len(), "each once: {text}");
    assert_eq!(usize::from(counts.distinct), met.len());
    assert!(met.iter().all(|&bucket| (bucket as usize) < WORD_BUCKETS));
    met
}

fn term(text: &str) -> u32 {
    bucket(hash(text.as_bytes()))
}

fn pair(one: &str, other: &str) -> u32 {
    bucket(hash(one.as_bytes()).wrapping_mul(PRIME) ^ hash(other.as_bytes()))
}

#[test]
fn the_vocabulary_is_that_of_the_features_and_no_two_words_of_it_have_one_hash() {
    let names: Vec<_> = vocabulary().map(|(name, _)| format!("words_{name}")).collect();
    assert_eq!(names, FEATURE_NAMES[FEATURE_NAMES.len() - GROUPS..]);
    let mut all = HashSet::new();
    for (name, group) in vocabulary() {
        let group: Vec<_> = group.collect();
        assert_eq!(group.iter().collect::<HashSet<_>>().len(), group.len(), "twice in {name}");
        assert!(group.iter().all(|word| fold(word) == *word && word.chars().all(is_word)), "of {name}");
        all.extend(group);
    }
    assert_eq!(VOCABULARY.len(), all.len());
}

/// The weights of every model file stand by these numbers.
#[test]
fn buckets_stay_what_they_are() {
    assert_eq!(
        buckets("Prove it: 42!\né"),
        [
            28830, 53124, 108_687, 48870, 128_735, 71997, 44282, 17005, 16341, 48095, 26439, 73973, 37692,
            27613
        ]
    );
}

#[test]
fn terms_and_pairs_in_the_order_in_which_they_are_met() {
    assert!(buckets("").is_empty());
    assert_eq!(buckets("The the"), [term("the"), pair("the", "the")]);
    assert_eq!(
        buckets("a, b"),
        [term("a"), term(","), pair("a", ","), term("b"), pair(",", "b")],
        "white space ends a term and is none"
    );
    assert_eq!(buckets("中文"), [term("中"), term("文"), pair("中", "文")]);
    assert_eq!(buckets("?!\r\n"), [term("?!"), term("\n"), pair("?!", "\n")]);
    assert_eq!(buckets("Éa_1"), [term("éa_1")]);
}

#[test]
fn a_number_stands_for_all_of_its_length() {
    assert_eq!(buckets("x 7"), [term("x"), term("#1"), term("7"), pair("x", "#1")]);
    assert_eq!(buckets("12345")[0], buckets("6789")[0]);
    assert_ne!(buckets("12345")[1], buckets("6789")[1]);
    assert_eq!(counts("1 22 3.5 x1 ١").numbers, 4);
}

#[test]
fn counts_of_what_is_in_words_and_between_them() {
    let found = counts("Dear Ann, Bob\nand \"Éva\" McX wrote f(x[0]) = {y} NASA\tunbelievable, ÀÉ O");
    let expected = WordCounts {
        terms: 26,
        distinct: found.distinct,
        numbers: 1,
        names: 2, // Ann and Bob
        long_words: 1,
        uppercase: 13,
        symbols: 3,
        quotes: 2,
        brackets: 2,
        ..WordCounts::default()
    };
    assert_eq!(WordCounts { groups: [0; GROUPS], ..found }, expected);
    // "prove" is of mathematics, "not" a negation, "none" one, too, and of code.
    assert_eq!(counts("PROVE that none is not nonesuch").groups, [1, 0, 0, 0, 1, 0, 2, 0]);
}

#[test]
fn options_are_lines_that_begin_with_a_letter() {
    for (text, options) in
        [("A. x\n\t (b) y\n  C) z\r\nd.", 4), ("AB. x\n1. x\n- A.\n((A)\né. x\nA", 0), ("(\nA\n.\n(A.\n", 1)]
    {
        assert_eq!(counts(text).options, options, "{text}");
    }
}

#[test]
fn only_the_ends_of_a_long_text_are_looked_at() {
    let exactly = "é ".repeat((WORD_HEAD + WORD_TAIL) / 2);
    assert_eq!(usize::from(counts(&exactly).terms), (WORD_HEAD + WORD_TAIL) / 2);
    let over = ["a".repeat(WORD_HEAD), "Z".repeat(100_000), "b".repeat(WORD_TAIL)].concat();
    let found = counts(&over);
    assert_eq!((found.terms, found.uppercase, found.distinct), (3, 0, 5));
    let ends = ["a".repeat(WORD_HEAD), "b".repeat(WORD_TAIL)].join("\n");
    assert_eq!(buckets(&over), buckets(&ends));
}

#[test]
fn hostile_texts_end() {
    for unit in
        ["a", "A ", "1 ", "\n", ". ", "中", "é,", "\u{10ffff}", "(", " ", "\r", "A.\n", "İ", "\u{300}"]
    {
        let text = unit.repeat(1_000_000 / unit.len());
        let found = counts(&text);
        assert!(usize::from(found.terms) <= WORD_HEAD + WORD_TAIL + 1, "{unit:?}");
        assert!(found.distinct <= 12, "{unit:?}: {found:?}");
    }
}
