//! [`LearnedModel`]: no file makes it panic, and one that it takes scores as a model must.
//!
//! The first byte says what the others are: a file; the header of one, whose checksum is made to fit; or the numbers of
//! a model, but for its words.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bsgateway_core::LearnedModel;
use bsgateway_core::features::FEATURE_VERSION;
use bsgateway_core::inputs::{INPUT_NAMES, INPUTS};
use bsgateway_core::learned::WordSum;
use bsgateway_core::words::WORD_BUCKETS;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const KNOTS: usize = 3;
/// Bias, scale, calibration, knots and curves, before the words.
const NUMBERS: usize = 1 + 1 + 4 + 2 * INPUTS * KNOTS;

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    json!({"format": 1, "kind": "trained", "feature_version": FEATURE_VERSION, "input_names": INPUT_NAMES.to_vec()})
        .to_string()
});

fuzz_target!(|data: &[u8]| {
    let Some((how, rest)) = data.split_first() else { return };
    match how % 3 {
        0 => check(rest),
        1 => {
            if let Ok(Value::Object(mut header)) = serde_json::from_slice(rest) {
                header.entry("__metadata__").or_insert_with(|| json!({"bsgateway": *DESCRIPTION}));
                check(&sealed(header.into(), &body(&[])));
            }
        }
        _ => check(&sealed(header(), &body(rest))),
    }
});

fn check(file: &[u8]) {
    let Ok(model) = LearnedModel::new(file) else { return };
    let mut words = WordSum::default();
    for bucket in [0, 7, WORD_BUCKETS as u32 - 1] {
        model.add_bucket(&mut words, bucket);
    }
    for (input, words) in
        [(0.0, WordSum::default()), (1.0, words), (-1e9, words), (1e9, words), (f64::NAN, words)]
    {
        let inputs = [input; INPUTS];
        let margin = model.margin(&inputs, words);
        let probability = model.probability(margin);
        assert!(margin.is_finite() && (0.0..=1.0).contains(&probability), "{margin} {probability}");
        let learned = model.explain(&inputs, words);
        assert_eq!(learned.probability.to_bits(), probability.to_bits());
        assert!(learned.contributions.iter().all(|share| share.points.is_finite()), "{learned:?}");
        assert!(learned.contributions.len() <= 10, "{learned:?}");
    }
}

/// Those of `data` and then zeros, but for what must be in order.
fn body(data: &[u8]) -> Vec<u8> {
    let mut body = vec![0; NUMBERS * 8 + WORD_BUCKETS * 2];
    for (at, number) in [(2, -1.0), (3, 1.0), (4, 0.0), (5, 1.0)] {
        body[8 * at..8 * at + 8].copy_from_slice(&f64::to_le_bytes(number));
    }
    let length = data.len().min(NUMBERS * 8);
    body[..length].copy_from_slice(&data[..length]);
    body
}

fn header() -> Value {
    let mut at = 0;
    let mut entry = |dtype: &str, shape: &[usize], size: usize| {
        let start = at;
        at += shape.iter().product::<usize>() * size;
        json!({"dtype": dtype, "shape": shape, "data_offsets": [start, at]})
    };
    let entries = BTreeMap::from([
        ("bias", entry("F64", &[1], 8)),
        ("word_scale", entry("F64", &[1], 8)),
        ("calibration", entry("F64", &[2, 2], 8)),
        ("knots", entry("F64", &[INPUTS, KNOTS], 8)),
        ("curves", entry("F64", &[INPUTS, KNOTS], 8)),
        ("words", entry("I16", &[WORD_BUCKETS], 2)),
        ("__metadata__", json!({"bsgateway": *DESCRIPTION})),
    ]);
    json!(entries)
}

/// A file whose checksum fits, if there is a description.
fn sealed(mut header: Value, body: &[u8]) -> Vec<u8> {
    if let Some(metadata) = header.get_mut("__metadata__").and_then(Value::as_object_mut) {
        let description = metadata.get("bsgateway").and_then(Value::as_str).unwrap_or_default();
        let digest = Sha256::new().chain_update(description).chain_update(body).finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        metadata.insert("sha256".to_owned(), hex.into());
    }
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), body].concat()
}
