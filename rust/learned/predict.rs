//! Many asks at once, as arrays in the byte order of the machine.

use super::{Fault, LearnedModel, WordSum};
use crate::error::Error;
use crate::inputs::INPUTS;

impl LearnedModel {
    /// Margins and probabilities, float64 [n] each, of `inputs`, float64 [n, inputs] row by row, and of the word buckets
    /// `indices`, int32: those from `indptr[i]` to `indptr[i + 1]`, int64 [n + 1], belong to row i.
    ///
    /// # Errors
    /// Arrays that do not fit each other.
    pub fn predict(&self, inputs: &[u8], indptr: &[u8], indices: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let (rows, rest) = inputs.as_chunks::<{ INPUTS * size_of::<f64>() }>();
        let (ends, ends_rest) = indptr.as_chunks::<8>();
        let (indices, indices_rest) = indices.as_chunks::<4>();
        if ends.len() != rows.len() + 1 || [rest, ends_rest, indices_rest].iter().any(|rest| !rest.is_empty())
        {
            return Err(Fault::Arrays.into());
        }
        let ends: Option<Vec<usize>> =
            ends.iter().map(|&end| usize::try_from(i64::from_ne_bytes(end)).ok()).collect();
        let ends = ends.filter(|ends| ends.is_sorted()).ok_or(Fault::Indptr)?;
        if (ends.first(), ends.last()) != (Some(&0), Some(&indices.len())) {
            return Err(Fault::Indptr.into());
        }
        let buckets: Vec<u32> = indices.iter().map(|&index| u32::from_ne_bytes(index)).collect();
        if buckets.iter().any(|&bucket| bucket as usize >= self.words.len()) {
            return Err(Fault::Indices.into()); // one below 0 is a large one here
        }
        let mut margins = Vec::with_capacity(rows.len() * size_of::<f64>());
        let mut probabilities = Vec::with_capacity(rows.len() * size_of::<f64>());
        for (row, ends) in rows.iter().zip(ends.windows(2)) {
            let mut values = [0.0; INPUTS];
            for (value, &bytes) in values.iter_mut().zip(row.as_chunks::<8>().0) {
                *value = f64::from_ne_bytes(bytes);
            }
            let mut words = WordSum::default();
            let of_row = if let &[start, end] = ends { buckets.get(start..end) } else { None };
            for &bucket in of_row.unwrap_or_default() {
                self.add_bucket(&mut words, bucket);
            }
            let margin = self.margin(&values, words);
            margins.extend(margin.to_ne_bytes());
            probabilities.extend(self.probability(margin).to_ne_bytes());
        }
        Ok((margins, probabilities))
    }
}
