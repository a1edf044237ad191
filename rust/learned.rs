//! The learned score: a linear model over the words of the ask and curves of the inputs, calibrated to a probability.
//!
//! ```text
//! margin = bias + curve_1(input_1) + ... + curve_n(input_n) + word_sum * (word_scale / sqrt(buckets))
//! ```
//!
//! `word_sum` adds up the whole-number weights of the ask's different buckets, so that their order does not matter. All else
//! is IEEE doubles in the order written: the pure-Python twin gets the same bits.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::inputs::{INPUT_NAMES, INPUTS};
use crate::score::Contribution;

mod fault;
mod file;
mod json;
mod predict;
mod slot;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use slot::KnownSum;
pub(crate) use slot::{InForce, Slot};

/// Contributions that have a name; the others are summed up as `other`.
const MOST_NAMED: usize = 8;
/// Closer margins are the same: nothing of a score is due to what lies between them.
const SAME_MARGIN: f64 = 1e-12;

/// A model out of its file. Immutable; share it by all threads.
#[derive(Clone, PartialEq)]
pub struct LearnedModel {
    id: Arc<str>,
    kind: &'static str,
    description: String,
    words: Vec<i16>,
    word_scale: f64,
    bias: f64,
    curves: Curves,
    margins: Vec<f64>,
    probabilities: Vec<f64>,
}

/// Row by row, one for each input.
#[derive(Debug, Clone, PartialEq)]
struct Curves {
    width: usize,
    knots: Vec<f64>,
    heights: Vec<f64>,
}

/// What the words of one ask come to under one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WordSum {
    /// The weights of its different buckets, added up.
    pub sum: i64,
    /// How many different buckets there are.
    pub buckets: u32,
}

/// A probability and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// Id of the model.
    pub scorer_id: Arc<str>,
    /// 0-1.
    pub probability: f64,
    /// `base`, the score of the bias alone, then the inputs and `words` by their points, in descending order. `value` is
    /// what they add to the margin, `weight` the points for one of the margin. Their points add up to 100 times the
    /// probability.
    pub contributions: Vec<Contribution>,
}

impl LearnedModel {
    /// The model in the bytes of a file.
    ///
    /// # Errors
    /// The first reason why it is none.
    pub fn new(data: &[u8]) -> Result<Self, Error> {
        Ok(file::read(data)?)
    }

    /// The first 12 digits of its checksum.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `prior` or `trained`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The JSON text that its maker put into it.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Counts one more of the different buckets of an ask.
    pub fn add_bucket(&self, words: &mut WordSum, bucket: u32) {
        words.sum += self.words.get(bucket as usize).copied().map_or(0, i64::from);
        words.buckets += 1;
    }

    /// The linear score of one ask.
    #[must_use]
    pub fn margin(&self, inputs: &[f64; INPUTS], words: WordSum) -> f64 {
        let curves = self.curves.values(inputs).into_iter();
        curves.fold(self.bias, |margin, value| margin + value) + self.word_value(words)
    }

    /// The probability, 0-1, that a margin stands for.
    #[must_use]
    pub fn probability(&self, margin: f64) -> f64 {
        curve(margin, &self.margins, &self.probabilities)
    }

    /// The probability for one ask, and what it is made of: a straight line leads from the score of the bias to the score,
    /// and each input and the words get the points of their part of the margin.
    #[must_use]
    pub fn explain(&self, inputs: &[f64; INPUTS], words: WordSum) -> Learned {
        let curves = self.curves.values(inputs);
        let parts = || {
            let names = INPUT_NAMES.into_iter().chain(["words"]);
            names.zip(curves.into_iter().chain([self.word_value(words)])).enumerate()
        };
        let margin = parts().fold(self.bias, |margin, (_, (_, value))| margin + value);
        let probability = self.probability(margin);
        let base = 100.0 * self.probability(self.bias);
        let reach = margin - self.bias;
        let slope = if reach.abs() > SAME_MARGIN { (100.0 * probability - base) / reach } else { 0.0 };
        let mut shares: Vec<_> = parts().filter(|(_, (_, value))| value * slope != 0.0).collect();
        let mut contributions = Vec::with_capacity(MOST_NAMED + 2);
        contributions.push(Contribution { signal: "base", value: self.bias, weight: 0.0, points: base });
        let by_points = |&(at, (_, value)): &(usize, (&str, f64))| (-(value * slope).abs(), at);
        let compare = |one: &_, other: &_| {
            let ((one, at), (other, other_at)) = (by_points(one), by_points(other));
            one.total_cmp(&other).then(at.cmp(&other_at))
        };
        if shares.len() > MOST_NAMED {
            shares.select_nth_unstable_by(MOST_NAMED, compare);
        }
        let mut others = shares.split_off(shares.len().min(MOST_NAMED));
        shares.sort_unstable_by(compare);
        let share = |signal, value| Contribution { signal, value, weight: slope, points: value * slope };
        contributions.extend(shares.into_iter().map(|(_, (signal, value))| share(signal, value)));
        if !others.is_empty() {
            others.sort_unstable_by_key(|&(at, _)| at);
            contributions.push(share("other", others.iter().fold(0.0, |sum, (_, (_, value))| sum + value)));
        }
        Learned { scorer_id: Arc::clone(&self.id), probability, contributions }
    }

    fn word_value(&self, words: WordSum) -> f64 {
        if words.buckets == 0 {
            return 0.0;
        }
        #[allow(clippy::cast_precision_loss)]
        // at most 2^15 for each bucket, of which there are fewer than 2^32
        let sum = words.sum as f64;
        sum * (self.word_scale / f64::from(words.buckets).sqrt())
    }
}

impl fmt::Debug for LearnedModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LearnedModel")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Curves {
    fn values(&self, inputs: &[f64; INPUTS]) -> [f64; INPUTS] {
        let mut values = [0.0; INPUTS];
        let rows = self.knots.chunks_exact(self.width).zip(self.heights.chunks_exact(self.width));
        for ((value, &input), (knots, heights)) in values.iter_mut().zip(inputs).zip(rows) {
            *value = curve(input, knots, heights);
        }
        values
    }
}

/// Straight lines between the knots, flat outside. 0 for NaN: an unknown input says nothing, as its curve is 0 on the mean
/// of what the model was trained on.
fn curve(value: f64, knots: &[f64], heights: &[f64]) -> f64 {
    if value.is_nan() {
        return 0.0;
    }
    let mut points = knots.iter().copied().zip(heights.iter().copied());
    let Some((mut low, mut height)) = points.next() else { return 0.0 };
    if value <= low {
        return height;
    }
    for (knot, next) in points {
        if value < knot {
            return height + (next - height) * ((value - low) / (knot - low));
        }
        (low, height) = (knot, next);
    }
    height
}
