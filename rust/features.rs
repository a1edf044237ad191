//! Parts -> the fixed, versioned feature vector: what the score reads, the log keeps and training learns from.

use std::borrow::Cow;

use crate::ask::Ask;
use crate::chars::fold;
use crate::extract::{Extract, Part, Role};
use crate::lexicon::Lexicon;
use crate::memo::{Known, Recall, TextStats};
use crate::structure::Structure;
use crate::tokens::{Encoding, SAMPLED_BYTES, count_tokens, estimate_tokens, sample_tokens};

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

/// Tokens of one encoding.
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

/// What is counted exactly.
#[derive(Debug, Clone, Copy)]
pub struct Exact {
    /// Whose tokens.
    pub encoding: Encoding,
    /// Bytes of new text per request at most.
    pub bytes: usize,
}

/// Counts exactly while the `exact` bytes last: the ask, then system texts, then the rest from newest to oldest. A text that
/// does not fit whole is estimated, with samples of it counted while there is room for them, and the smaller ones after it
/// still get their exact count. A text that is remembered has the count it got then, and takes nothing from the bytes.
/// `known` belongs to the parts, `known_ask` to the ask.
pub fn count_all<T: AsRef<str>>(
    found: &Extract<T>,
    ask: &Ask<'_>,
    exact: Exact,
    recall: &mut Recall<'_>,
    (known, known_ask): (&[Known], &Known),
) -> TokenCounts {
    let mut counter = Counter { encoding: exact.encoding, left: exact.bytes, exact: true, recall };
    let ask_tokens = counter.count(&ask.text, known_ask);
    let (mut system, mut others) = (0, 0);
    let parts = found.parts.iter().zip(known);
    for (part, known) in parts.clone().filter(|(part, _)| part.role == Role::System) {
        system += counter.count(part.text.as_ref(), known);
    }
    for (part, known) in parts.rev().filter(|(part, _)| part.role != Role::System) {
        // The common case, an ask of one part without harness blocks, is not counted twice.
        others += if is_ask(part, ask) { ask_tokens } else { counter.count(part.text.as_ref(), known) };
    }
    let tools = found.tool_bytes.div_ceil(4);
    let context = system + others + tools + found.call_bytes.div_ceil(4) + found.token_ids;
    TokenCounts { ask: ask_tokens, system, context, tools, exact: counter.exact }
}

fn is_ask<T: AsRef<str>>(part: &Part<T>, ask: &Ask<'_>) -> bool {
    part.message == ask.message && part.role == Role::User && part.text.as_ref() == ask.text
}

struct Counter<'a, 'm> {
    encoding: Encoding,
    left: usize,
    exact: bool,
    recall: &'a mut Recall<'m>,
}

impl Counter<'_, '_> {
    fn count(&mut self, text: &str, known: &Known) -> usize {
        // It may have come to be known since: the same text can stand in a request twice.
        let stored = known.stored.or_else(|| self.recall.text(known.key));
        self.recall.count(known.key, stored.is_some());
        let stats = stored.unwrap_or_else(|| self.measure(text));
        if stored.is_none_or(|stored| stored.own.is_none() && known.own.is_some()) {
            self.recall.keep_text(known.key, TextStats { own: known.own, ..stats });
        }
        self.exact &= stats.exact;
        stats.tokens
    }

    fn measure(&mut self, text: &str) -> TextStats {
        match self.left.checked_sub(text.len()) {
            Some(left) => {
                self.left = left;
                TextStats { tokens: count_tokens(text, self.encoding), exact: true, own: None }
            }
            None if self.left >= SAMPLED_BYTES => {
                self.left -= SAMPLED_BYTES;
                TextStats { tokens: sample_tokens(text, self.encoding), exact: false, own: None }
            }
            None => TextStats { tokens: estimate_tokens(text, self.encoding), exact: false, own: None },
        }
    }
}

/// How many different complex and simple `keywords`, in this order, stand in the windows of `prose`.
#[must_use]
pub fn keyword_counts(prose: &str, keywords: &Lexicon<2>) -> (usize, usize) {
    let [complex, simple] = keywords.count(&fold(&windows(prose)));
    (complex, simple)
}

fn windows(prose: &str) -> Cow<'_, str> {
    if prose.len() <= 2 * KEYWORD_WINDOW {
        return Cow::Borrowed(prose); // a character is a byte or more
    }
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
        let mut known = vec![Known::default(); found.parts.len()];
        let ask = newest_ask(&found.parts, &mut known);
        let count = |bytes| {
            count_all(
                &found,
                &ask,
                Exact { encoding: Encoding::O200kBase, bytes },
                &mut Recall::new(None, 4),
                (&known, &Known::default()),
            )
        };
        let all = count(1000);
        assert!(all.exact);
        assert_eq!(all.ask, count_tokens("New ask", Encoding::O200kBase));
        assert_eq!(all.system, count_tokens("Be brief and kind.", Encoding::O200kBase));
        let some = count("New ask".len() + "Be brief and kind.".len() + "Old answer.".len());
        assert!(!some.exact);
        let old = "An old question, longer than the rest of the budget.";
        assert_eq!(
            some.context,
            all.context - count_tokens(old, Encoding::O200kBase) + estimate_tokens(old, Encoding::O200kBase)
        );
        let none = count(0);
        assert_eq!((none.ask, none.exact), (estimate_tokens("New ask", Encoding::O200kBase), false));
    }
}
