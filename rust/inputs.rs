//! The dense inputs of a learned model, from the feature vector and the needs.
//!
//! Counts are taken as `log2` of one more, straight lines between the powers of two: no function of a mathematics library,
//! which differ by the last bit. Shares relate one count to another.

use crate::features::FEATURE_NAMES;

macro_rules! shares {
    ($($count:ident / $whole:ident,)*) => {
        /// Names of the pairs of features whose ratio is an input; 0 where the second is 0.
        const SHARE_NAMES: [&str; [$(stringify!($count)),*].len()] =
            [$(concat!(stringify!($count), "/", stringify!($whole))),*];
        /// Their positions.
        const SHARES: [(usize, usize); SHARE_NAMES.len()] =
            [$((position(stringify!($count)), position(stringify!($whole)))),*];
    };
}

shares! {
    ask_bytes / ask_terms,
    ask_bytes / ask_lines,
    ask_digits / ask_bytes,
    ask_numbers / ask_terms,
    ask_names / ask_terms,
    ask_commas / ask_terms,
    ask_symbols / ask_bytes,
    ask_uppercase / ask_bytes,
    ask_non_ascii / ask_bytes,
    ask_code_lines / ask_lines,
    ask_options / ask_lines,
    ask_long_words / ask_terms,
    ask_distinct / ask_terms,
    ask_quotes / ask_terms,
    ask_brackets / ask_terms,
    words_math / ask_terms,
    words_science / ask_terms,
    words_law / ask_terms,
    words_story / ask_terms,
    words_code / ask_terms,
    words_reasoning / ask_terms,
    words_negation / ask_terms,
    words_everyday / ask_terms,
    ask_tokens / context_tokens,
}

macro_rules! needs {
    ($($need:ident,)*) => {
        /// Needs that are an input, 1 or 0.
        const NEEDS: [&str; [$(stringify!($need)),*].len()] = [$(stringify!($need)),*];
        /// What their inputs are called.
        const NEED_NAMES: [&str; NEEDS.len()] = [$(concat!("need_", stringify!($need))),*];
    };
}

needs! {
    vision,
    audio,
    file,
    tools,
    json_schema,
    reasoning,
    web_search,
    server_tools,
}

const FEATURES: usize = FEATURE_NAMES.len();
/// How many inputs there are.
pub const INPUTS: usize = FEATURES + SHARES.len() + NEEDS.len();
/// Names of the inputs, in order: the features, the shares, the needs.
pub const INPUT_NAMES: [&str; INPUTS] = names();

const fn names() -> [&'static str; INPUTS] {
    let mut names = [""; INPUTS];
    let (features, rest) = names.split_at_mut(FEATURES);
    let (shares, needs) = rest.split_at_mut(SHARES.len());
    features.copy_from_slice(&FEATURE_NAMES);
    shares.copy_from_slice(&SHARE_NAMES);
    needs.copy_from_slice(&NEED_NAMES);
    names
}

/// Position of the feature that is called `name`; that of none if there is none, which a test would see.
const fn position(name: &str) -> usize {
    let mut rest: &[&str] = &FEATURE_NAMES;
    while let Some((feature, after)) = rest.split_first() {
        if equal(feature.as_bytes(), name.as_bytes()) {
            return FEATURES - rest.len();
        }
        rest = after;
    }
    FEATURES
}

const fn equal(mut left: &[u8], mut right: &[u8]) -> bool {
    while let (Some((one, left_rest)), Some((other, right_rest))) = (left.split_first(), right.split_first())
    {
        if *one != *other {
            return false;
        }
        (left, right) = (left_rest, right_rest);
    }
    left.is_empty() && right.is_empty()
}

/// The inputs, in the order of [`INPUT_NAMES`]. `features` are counts, in the order of [`FEATURE_NAMES`].
#[must_use]
pub fn inputs(features: &[f64; FEATURES], needs: &[impl AsRef<str>]) -> [f64; INPUTS] {
    let feature = |at: usize| features.get(at).copied().unwrap_or_default();
    let counts = features.iter().map(|&count| log2_of_one_more(count));
    let shares = SHARES
        .into_iter()
        .map(|(count, whole)| if feature(whole) > 0.0 { feature(count) / feature(whole) } else { 0.0 });
    let needs = NEEDS.into_iter().map(|need| f64::from(needs.iter().any(|other| other.as_ref() == need)));
    let mut inputs = [0.0; INPUTS];
    for (input, value) in inputs.iter_mut().zip(counts.chain(shares).chain(needs)) {
        *input = value;
    }
    inputs
}

/// log2(1 + count), exact at powers of two and a straight line between them. `count`: finite and not negative.
fn log2_of_one_more(count: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = (1.0 + count).to_bits();
    #[allow(clippy::cast_precision_loss)] // eleven bits
    let exponent = (bits >> 52) as f64 - 1023.0;
    let mantissa = f64::from_bits(bits & MANTISSA | 1.0_f64.to_bits());
    exponent + (mantissa - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_their_own() {
        assert!(SHARES.iter().all(|&(count, whole)| count < FEATURES && whole < FEATURES && count != whole));
        for ((count, whole), name) in SHARES.iter().zip(SHARE_NAMES) {
            assert_eq!(format!("{}/{}", FEATURE_NAMES[*count], FEATURE_NAMES[*whole]), name);
        }
        let known: std::collections::HashSet<_> = INPUT_NAMES.into_iter().collect();
        assert_eq!(known.len(), INPUTS);
        assert_eq!((INPUT_NAMES[0], INPUT_NAMES[FEATURES]), ("ask_bytes", "ask_bytes/ask_terms"));
        assert_eq!(INPUT_NAMES[INPUTS - 1], "need_server_tools");
    }

    #[test]
    fn logarithms_are_exact_at_powers_of_two_and_straight_between() {
        for power in 0..60_i32 {
            assert_eq!(log2_of_one_more(2_f64.powi(power) - 1.0), f64::from(power));
        }
        assert_eq!([0.0, 0.5, 1.0, 2.0, 4.0, 5.0].map(log2_of_one_more), [0.0, 0.5, 1.0, 1.5, 2.25, 2.5]);
        assert_eq!(log2_of_one_more(f64::MAX), 1024.0);
    }

    #[test]
    fn inputs_are_logarithms_shares_and_needs() {
        let mut features = [0.0; FEATURES];
        features[position("ask_bytes")] = 7.0;
        features[position("ask_terms")] = 2.0;
        let found = inputs(&features, &["tools", "prompt_cache"]);
        for (name, value) in INPUT_NAMES.into_iter().zip(found) {
            let expected = match name {
                "ask_bytes" => 3.0,
                "ask_terms" => 1.5,
                "ask_bytes/ask_terms" => 3.5,
                "need_tools" => 1.0,
                _ => 0.0,
            };
            assert_eq!(value, expected, "{name}");
        }
    }
}
