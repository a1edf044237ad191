//! Many texts at once, for training: features and word buckets as arrays in the byte order of the machine.

use serde_json::json;

use crate::analyzer::Analyzer;
use crate::error::Error;
use crate::features::FEATURE_NAMES;
use crate::inputs::inputs;
use crate::words::words;

/// What `n` texts are. The arrays stand row by row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureBatch {
    /// float64 [n, features].
    pub features: Vec<u8>,
    /// float64 [n]: the raw static scores.
    pub static_scores: Vec<u8>,
    /// The word buckets of the asks.
    pub buckets: Buckets,
}

/// Word buckets of `n` texts: those of text `i` are `indices[indptr[i]..indptr[i + 1]]`, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// int64 [n + 1].
    pub indptr: Vec<u8>,
    /// int32.
    pub indices: Vec<u8>,
    count: i64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { indptr: 0_i64.to_ne_bytes().to_vec(), indices: Vec::new(), count: 0 }
    }
}

impl Buckets {
    fn add(&mut self, bucket: u32) {
        self.indices.extend(bucket.to_ne_bytes());
        self.count += 1;
    }

    fn end_row(&mut self) {
        self.indptr.extend(self.count.to_ne_bytes());
    }
}

impl Analyzer {
    /// What each text is as a chat request of one user message. Nothing is looked up in the memo nor kept there.
    #[must_use]
    pub fn featurize(&self, texts: &[impl AsRef<str>]) -> FeatureBatch {
        let mut batch = FeatureBatch::default();
        for text in texts {
            let body = json!({"messages": [{"role": "user", "content": text.as_ref()}]});
            let (features, score) = self.read(&&body, |bucket| batch.buckets.add(bucket));
            batch.features.extend(features.into_iter().flat_map(f64::to_ne_bytes));
            batch.static_scores.extend(score.to_ne_bytes());
            batch.buckets.end_row();
        }
        batch
    }
}

/// The word buckets of asks.
#[must_use]
pub fn word_buckets(texts: &[impl AsRef<str>]) -> Buckets {
    let mut buckets = Buckets::default();
    for text in texts {
        words(text.as_ref(), |bucket| buckets.add(bucket));
        buckets.end_row();
    }
    buckets
}

/// The inputs of rows of features, float64 [n, features], with the needs of each, or none: float64 [n, inputs].
///
/// # Errors
/// If the features are no whole number of rows, or not finite or negative, or the needs are of another number of rows.
pub fn model_inputs(features: &[u8], needs: Option<&[Vec<String>]>) -> Result<Vec<u8>, Error> {
    const WIDTH: usize = FEATURE_NAMES.len() * size_of::<f64>();
    let rows = features.len() / WIDTH;
    if !features.len().is_multiple_of(WIDTH) {
        return Err(Error::FeatureBytes { bytes: features.len() });
    }
    if let Some(needs) = needs.filter(|needs| needs.len() != rows) {
        return Err(Error::NeedRows { rows, needs: needs.len() });
    }
    let mut found = Vec::new();
    for (row, bytes) in features.chunks_exact(WIDTH).enumerate() {
        let mut counts = [0.0; FEATURE_NAMES.len()];
        for ((count, bytes), feature) in counts.iter_mut().zip(bytes.chunks_exact(8)).zip(FEATURE_NAMES) {
            *count = bytes.try_into().map_or(f64::NAN, f64::from_ne_bytes);
            if !(count.is_finite() && *count >= 0.0) {
                return Err(Error::FeatureValue { row, feature });
            }
        }
        let needs = needs.and_then(|needs| needs.get(row)).map_or(&[][..], Vec::as_slice);
        found.extend(inputs(&counts, needs).into_iter().flat_map(f64::to_ne_bytes));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
