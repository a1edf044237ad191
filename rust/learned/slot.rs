//! The model in force: read by each request, now and then replaced by another one.

use std::mem;
use std::sync::{Arc, PoisonError, RwLock};

use super::{LearnedModel, WordSum};
use crate::words::WordCounts;

/// Holds a model or none. Requests in flight keep the model they have begun with.
#[derive(Debug, Default)]
pub(crate) struct Slot(RwLock<Held>);

#[derive(Debug, Default)]
struct Held {
    generation: u32,
    model: Option<Arc<LearnedModel>>,
}

/// A model in its time of being in force.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) model: Arc<LearnedModel>,
    /// Counts what the slot has held.
    generation: u32,
}

/// What the words of an ask come to, as it is remembered: one of another generation is as good as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownSum {
    generation: u32,
    sum: i32,
}

impl Slot {
    pub(crate) fn set(&self, model: Option<Arc<LearnedModel>>) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.generation = held.generation.wrapping_add(1).max(1); // 0: of no model
        let old = mem::replace(&mut held.model, model);
        drop(held);
        drop(old); // after the lock: it may be the last owner
    }

    pub(crate) fn get(&self) -> Option<InForce> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.model.clone().map(|model| InForce { model, generation: held.generation })
    }
}

impl InForce {
    /// What is remembered of an ask, if it was found out with this model.
    pub(crate) fn recall(&self, known: KnownSum, words: &WordCounts) -> Option<WordSum> {
        let sum = WordSum { sum: known.sum.into(), buckets: words.distinct.into() };
        (known.generation == self.generation).then_some(sum)
    }

    /// What to remember of an ask.
    pub(crate) fn known(&self, words: WordSum) -> KnownSum {
        let sum = i32::try_from(words.sum); // no ask has the buckets to exceed it
        sum.map(|sum| KnownSum { generation: self.generation, sum }).unwrap_or_default()
    }
}
