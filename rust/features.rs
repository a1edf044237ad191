//! Parts -> the fixed, versioned feature vector: what the score reads, the log keeps and training learns from.

use crate::ask::Ask;
use crate::chars::{ends, fold};
use crate::extract::{Extract, Part, Role};
use crate::lexicon::Lexicon;
use crate::memo::{AskStats, Known, Recall, TextStats};
use crate::tokens::{Encoding, SAMPLED_BYTES, count_tokens, estimate_tokens, sample_tokens};

/// Version of the feature vector; rows and models of another version are not comparable.
pub const FEATURE_VERSION: u32 = 2;

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
    ask_terms,
    ask_distinct,
    ask_numbers,
    ask_names,
    ask_long_words,
    ask_uppercase,
    ask_symbols,
    ask_quotes,
    ask_brackets,
    ask_options,
    words_math,
    words_science,
    words_law,
    words_story,
    words_code,
    words_reasoning,
    words_negation,
    words_everyday,
}

impl Features {
    /// Puts together what the other modules measured.
    #[must_use]
    pub fn new<T>(found: &Extract<T>, ask: &Ask<'_>, stats: &AskStats, tokens: &TokenCounts) -> Self {
        let AskStats { structure: shape, keywords, words, .. } = stats;
        let [math, science, law, story, code, reasoning, negation, everyday] = words.groups;
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
            ask_terms: f64::from(words.terms),
            ask_distinct: f64::from(words.distinct),
            ask_numbers: f64::from(words.numbers),
            ask_names: f64::from(words.names),
            ask_long_words: f64::from(words.long_words),
            ask_uppercase: f64::from(words.uppercase),
            ask_symbols: f64::from(words.symbols),
            ask_quotes: f64::from(words.quotes),
            ask_brackets: f64::from(words.brackets),
            ask_options: f64::from(words.options),
            words_math: f64::from(math),
            words_science: f64::from(science),
            words_law: f64::from(law),
            words_story: f64::from(story),
            words_code: f64::from(code),
            words_reasoning: f64::from(reasoning),
            words_negation: f64::from(negation),
            words_everyday: f64::from(everyday),
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
    let [complex, simple] = keywords.count(&fold(&ends(prose, KEYWORD_WINDOW, KEYWORD_WINDOW)));
    (complex, simple)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::newest_ask;
    use crate::extract::{Format, extract};
    use serde_json::json;

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
