//! Parts -> the fixed, versioned feature vector: what the score reads, the log keeps and training learns from.

use std::borrow::Cow;

use crate::ask::Ask;
use crate::chars::fold;
use crate::extract::{Extract, Part, Role};
use crate::lexicon::Lexicon;
use crate::structure::Structure;
use crate::tokens::{count_tokens, estimate_tokens};

/// Version of the feature vector; rows and models of another version are not comparable.
pub const FEATURE_VERSION: u32 = 1;

/// Keywords are looked for in the first and the last so many characters of the ask's prose: a pasted document between them
/// is material, not the ask.
pub const KEYWORD_WINDOW: usize = 2048;

macro_rules! features {
    ($($name:ident,)*) => {
        /// Names of [`Features::values`], in order.
        pub const FEATURE_NAMES: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        /// The features by name. All are counts, kept as the IEEE doubles that the score computes with.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Features { $(pub $name: f64),* }

        impl Features {
            /// The values in the order of [`FEATURE_NAMES`].
            #[must_use]
            pub fn values(&self) -> [f64; FEATURE_NAMES.len()] {
                [$(self.$name),*]
            }
        }
    };
}

features! {
    ask_bytes,
    ask_tokens,
    ask_words,
    ask_lines,
    ask_digits,
    ask_commas,
    ask_questions,
    ask_list_items,
    ask_fences,
    ask_code_lines,
    ask_inline_code,
    ask_stack_lines,
    ask_non_ascii,
    complex_keywords,
    simple_keywords,
    system_tokens,
    context_tokens,
    tools,
    tool_tokens,
    turns,
    messages,
    results_since_ask,
    errors_since_ask,
    images,
    harness_bytes,
}

impl Features {
    /// Puts together what the other modules measured. `keywords`: complex and simple ones.
    #[must_use]
    pub fn new<T>(
        found: &Extract<T>,
        ask: &Ask<'_>,
        shape: &Structure<'_>,
        tokens: &TokenCounts,
        keywords: (usize, usize),
    ) -> Self {
        let since = found.results.iter().filter(|(message, _)| *message > ask.message);
        Self {
            ask_bytes: float(shape.bytes),
            ask_tokens: float(tokens.ask),
            ask_words: float(shape.words),
            ask_lines: float(shape.lines),
            ask_digits: float(shape.digits),
            ask_commas: float(shape.commas),
            ask_questions: float(shape.questions),
            ask_list_items: float(shape.list_items),
            ask_fences: float(shape.fences),
            ask_code_lines: float(shape.code_lines),
            ask_inline_code: float(shape.inline_code),
            ask_stack_lines: float(shape.stack_lines),
            ask_non_ascii: float(shape.non_ascii),
            complex_keywords: float(keywords.0),
            simple_keywords: float(keywords.1),
            system_tokens: float(tokens.system),
            context_tokens: float(tokens.context),
            tools: float(found.tools),
            tool_tokens: float(tokens.tools),
            turns: float(ask.turns),
            messages: float(found.messages),
            results_since_ask: float(since.clone().count()),
            errors_since_ask: float(since.filter(|(_, error)| *error).count()),
            images: float(found.images),
            harness_bytes: float(ask.harness_bytes),
        }
    }

    /// Complex minus simple keywords.
    #[must_use]
    pub fn net_keywords(&self) -> f64 {
        self.complex_keywords - self.simple_keywords
    }
}

/// Counts are far below 2^53, where a double still holds every whole number.
#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}

/// o200k_base tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCounts {
    /// Of the ask.
    pub ask: usize,
    /// Of all system texts.
    pub system: usize,
    /// Of the whole request: texts, tools and calls, without images.
    pub context: usize,
    /// Of the tools: as of the calls, always 1 token per started 4 bytes.
    pub tools: usize,
    /// Whether no text had to be estimated.
    pub exact: bool,
}

/// Counts exactly while `budget` bytes last: the ask, then system texts, then the rest from newest to oldest. A text that
/// does not fit whole is estimated, and the smaller ones after it still get their exact count.
pub fn count_all<T: AsRef<str>>(found: &Extract<T>, ask: &Ask<'_>, budget: usize) -> TokenCounts {
    let mut counter = Counter { left: budget, exact: true };
    let ask_tokens = counter.count(&ask.text);
    let (mut system, mut others) = (0, 0);
    for part in found.parts.iter().filter(|part| part.role == Role::System) {
        system += counter.count(part.text.as_ref());
    }
    for part in found.parts.iter().rev().filter(|part| part.role != Role::System) {
        // The common case, an ask of one part without harness blocks, is not counted twice.
        others += if is_ask(part, ask) { ask_tokens } else { counter.count(part.text.as_ref()) };
    }
    let tools = found.tool_bytes.div_ceil(4);
    let context = system + others + tools + found.call_bytes.div_ceil(4) + found.token_ids;
    TokenCounts { ask: ask_tokens, system, context, tools, exact: counter.exact }
}

fn is_ask<T: AsRef<str>>(part: &Part<T>, ask: &Ask<'_>) -> bool {
    part.message == ask.message && part.role == Role::User && part.text.as_ref() == ask.text
}

struct Counter {
    left: usize,
    exact: bool,
}

impl Counter {
    fn count(&mut self, text: &str) -> usize {
        match self.left.checked_sub(text.len()) {
            Some(left) => {
                self.left = left;
                count_tokens(text)
            }
            None => {
                self.exact = false;
                estimate_tokens(text)
            }
        }
    }
}

/// How many different complex and simple keywords stand in the windows of `prose`.
#[must_use]
pub fn keyword_counts(prose: &str, complex: &Lexicon, simple: &Lexicon) -> (usize, usize) {
    let folded = fold(&windows(prose));
    (complex.count(&folded), simple.count(&folded))
}

fn windows(prose: &str) -> Cow<'_, str> {
    let head_end = prose.char_indices().nth(KEYWORD_WINDOW);
    let tail_start = prose.char_indices().rev().nth(KEYWORD_WINDOW - 1);
    let (Some((head_end, _)), Some((tail_start, _))) = (head_end, tail_start) else {
        return Cow::Borrowed(prose);
    };
    if tail_start <= head_end {
        return Cow::Borrowed(prose);
    }
    let head = prose.get(..head_end).unwrap_or_default();
    let tail = prose.get(tail_start..).unwrap_or_default();
    // A line end between the windows keeps a keyword from being made of two halves.
    Cow::Owned([head, "\n", tail].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::newest_ask;
    use crate::extract::{Format, extract};
    use serde_json::json;

    #[test]
    fn windows_are_counted_in_characters() {
        let exactly = "é".repeat(2 * KEYWORD_WINDOW);
        assert_eq!(windows(&exactly), exactly);
        let over = format!("{}x{}", "é".repeat(KEYWORD_WINDOW), "ü".repeat(KEYWORD_WINDOW));
        assert_eq!(windows(&over), over.replace('x', "\n"));
        assert_eq!(windows("short"), "short");
    }

    #[test]
    fn budget_goes_to_ask_then_system_then_newest() {
        let body = json!({"messages": [
            {"role": "system", "content": "Be brief and kind."},
            {"role": "user", "content": "An old question, longer than the rest of the budget."},
            {"role": "assistant", "content": "Old answer."},
            {"role": "user", "content": "New ask"},
        ]});
        let found = extract(&&body, Format::Chat);
        let ask = newest_ask(&found.parts);
        let all = count_all(&found, &ask, 1000);
        assert!(all.exact);
        assert_eq!(all.ask, count_tokens("New ask"));
        assert_eq!(all.system, count_tokens("Be brief and kind."));
        let some =
            count_all(&found, &ask, "New ask".len() + "Be brief and kind.".len() + "Old answer.".len());
        assert!(!some.exact);
        let old = "An old question, longer than the rest of the budget.";
        assert_eq!(some.context, all.context - count_tokens(old) + estimate_tokens(old));
        let none = count_all(&found, &ask, 0);
        assert_eq!((none.ask, none.exact), (estimate_tokens("New ask"), false));
    }
}
