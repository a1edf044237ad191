//! The one error type of this crate.

/// What can be wrong with what the operator or the caller gave. Nothing inside a request body is an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of a request format that this crate does not read.
    #[error("unknown request format {quoted}; known: {known}", quoted = quote(.0), known = crate::extract::Format::NAMES.join(", "))]
    Format(String),
    /// The name of an encoding that this crate does not count.
    #[error("unknown encoding {quoted}; known: {known}", quoted = quote(.0), known = crate::tokens::Encoding::NAMES.join(", "))]
    Encoding(String),
    /// The weights name something else than the signals.
    #[error("weights must name exactly: {}", crate::score::SIGNALS.join(", "))]
    WeightNames,
    /// A weight is negative, infinite or not a number, or all are 0.
    #[error("weights must be finite, not negative and not all zero")]
    Weights,
    /// The thresholds of the token curve are no curve.
    #[error("token_thresholds must be five ascending positive token counts")]
    TokenThresholds,
    /// A size below 0.
    #[error("exact_token_bytes, capture_chars, tail_chars and memo_bytes must not be negative")]
    Negative,
    /// A pattern that cannot be meant so.
    #[error("pattern {}: {problem}", quote(pattern))]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A keyword that could never match.
    #[error("keyword {}: {problem}", quote(keyword))]
    Keyword {
        /// The keyword as given.
        keyword: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Bytes of features that are no whole number of rows.
    #[error("features must be float64 [n, {width}], and {bytes} bytes are not", width = crate::features::FEATURE_NAMES.len())]
    FeatureBytes {
        /// How many there are.
        bytes: usize,
    },
    /// A feature that is no count.
    #[error("features must be finite and not negative, and {feature} of row {row} is not")]
    FeatureValue {
        /// The row, from 0.
        row: usize,
        /// Its name.
        feature: &'static str,
    },
    /// Needs that do not belong to the features.
    #[error("needs must have an item for each of the {rows} rows of features, and have {needs}")]
    NeedRows {
        /// Rows of features.
        rows: usize,
        /// Rows of needs.
        needs: usize,
    },
    /// A keyword set too large for one automaton.
    #[error("too many keywords: {0}")]
    Lexicon(String),
    /// A file that is no model, or arrays that no model can predict from.
    #[error(transparent)]
    Model(#[from] crate::learned::Fault),
}

/// `text` as a JSON string: nothing in it can break a line of a log.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
