//! [`Analyzer::analyze`]: one request body in, one [`Analysis`] out. The only call on the request path.

use std::sync::Arc;

use crate::ask::newest_ask;
use crate::bound::bound;
use crate::error::Error;
use crate::extract::{Format, Part, Role, extract};
use crate::features::{Exact, FEATURE_NAMES, Features, count_all, keyword_counts};
use crate::inputs::inputs;
use crate::json::Json;
use crate::learned::{InForce, KnownSum, Learned, LearnedModel, Slot, WordSum};
use crate::lexicon::Lexicon;
use crate::memo::{AskStats, Key, Known, Memo, MemoStats, Recall};
use crate::needs::{max_output_tokens, needs};
use crate::score::{Contribution, Marks, SIGNALS, score};
use crate::structure::measure;
use crate::tokens::Encoding;
use crate::words::words;

/// What the operator sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One per name in [`SIGNALS`]: finite, >= 0, not all 0. Only their ratios count.
    pub weights: [f64; SIGNALS.len()],
    /// Five ascending positive token counts where the signal `token_count` reaches 20 to 100.
    pub token_thresholds: Vec<i64>,
    /// Keywords that speak for a hard request.
    pub complex_keywords: Vec<String>,
    /// Keywords that speak for an easy request.
    pub simple_keywords: Vec<String>,
    /// Whose tokens are counted.
    pub encoding: Encoding,
    /// Bytes of new text per request that are counted exactly.
    pub exact_token_bytes: usize,
    /// How many characters of ask and system prompt to hand back, 0 for none.
    pub capture_chars: usize,
    /// How many characters of the end of an ask to hand back that is longer than `capture_chars`, 0 for none.
    pub tail_chars: usize,
    /// Bytes of memory for what is remembered of texts from one request to the next, 0 for none.
    pub memo_bytes: usize,
}

/// Prepared from [`Settings`] once, then safe to share by all threads.
#[derive(Debug)]
pub struct Analyzer {
    weights: [f64; SIGNALS.len()],
    marks: Marks,
    keywords: Lexicon<2>,
    exact: Exact,
    capture_chars: usize,
    tail_chars: usize,
    memo: Option<Memo>,
    model: Slot,
}

/// What one request is. Tokens are of the encoding in [`Settings`].
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The format it was read in.
    pub format: Format,
    /// `raw_score` rounded half up, 0-100.
    pub score: u8,
    /// Weighted sum of the signals, lifted to the highest floor.
    pub raw_score: f64,
    /// What made the score.
    pub contributions: Vec<Contribution>,
    /// The score of the model in force; None without one.
    pub learned: Option<Learned>,
    /// In the order of [`FEATURE_NAMES`].
    pub features: [f64; FEATURE_NAMES.len()],
    /// What a model must be able to do.
    pub needs: Vec<&'static str>,
    /// What in the conversation belongs to the model or provider that wrote it: some of [`crate::bound::BOUND_STATES`].
    pub bound: Vec<&'static str>,
    /// Tokens of the newest real ask.
    pub ask_tokens: usize,
    /// Tokens of all system texts.
    pub system_tokens: usize,
    /// Tokens of the whole request without images.
    pub context_tokens: usize,
    /// Tokens of the tool declarations.
    pub tool_tokens: usize,
    /// Whether no text had to be estimated.
    pub tokens_exact: bool,
    /// The limit on output tokens that the client set.
    pub max_output_tokens: Option<i64>,
    /// The first `capture_chars` characters of the ask.
    pub ask: String,
    /// The last `tail_chars` characters of the ask where it is longer than `capture_chars`; else empty.
    pub ask_tail: String,
    /// The first `capture_chars` characters of the system texts, joined by line ends.
    pub system: String,
}

impl Analyzer {
    /// Compiles `settings`.
    ///
    /// # Errors
    /// Names the first setting that is wrong.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut total = 0.0;
        for weight in settings.weights {
            if !weight.is_finite() || weight < 0.0 {
                return Err(Error::Weights);
            }
            total += weight;
        }
        if total <= 0.0 || !total.is_finite() {
            return Err(Error::Weights);
        }
        Ok(Self {
            weights: settings.weights.map(|weight| weight / total),
            marks: marks(&settings.token_thresholds)?,
            keywords: Lexicon::new([&settings.complex_keywords, &settings.simple_keywords])?,
            exact: Exact { encoding: settings.encoding, bytes: settings.exact_token_bytes },
            capture_chars: settings.capture_chars,
            tail_chars: settings.tail_chars,
            memo: Memo::new(settings.memo_bytes),
            model: Slot::default(),
        })
    }

    /// Has `model` score the requests to come, besides the static score; None: no model does.
    pub fn set_model(&self, model: Option<Arc<LearnedModel>>) {
        self.model.set(model);
    }

    /// Analyses `body`, a request of `format`. Wrong types inside it are ignored.
    pub fn analyze<V: Json>(&self, body: V, format: Format) -> Analysis {
        let found = extract(&body, format);
        let mut recall = Recall::new(self.memo.as_ref(), found.parts.len());
        let mut known: Vec<Known> = found.parts.iter().map(|part| recall.known(part.text.as_ref())).collect();
        let ask = newest_ask(&found.parts, &mut known);
        let known_ask = match ask.part.and_then(|index| known.get(index)) {
            Some(part) => part.clone(),
            None => recall.known(&ask.text),
        };
        let tokens = count_all(&found, &ask, self.exact, &mut recall, (&known, &known_ask));
        let model = self.model.get();
        let (stats, word_sum) = self.ask_stats(&ask.text, known_ask.key, &recall, model.as_ref());
        let features = Features::new(&found, &ask, &stats, &tokens);
        let (raw_score, contributions) = score(&features, &self.weights, &self.marks);
        let (features, needs) = (features.values(), needs(&body, &found));
        let learned = model.map(|held| held.model.explain(&inputs(&features, &needs), word_sum));
        let captured: String = ask.text.chars().take(self.capture_chars).collect();
        Analysis {
            format,
            score: round_half_up(raw_score),
            raw_score,
            contributions,
            learned,
            features,
            needs,
            bound: bound(&found, &ask),
            ask_tokens: tokens.ask,
            system_tokens: tokens.system,
            context_tokens: tokens.context,
            tool_tokens: tokens.tools,
            tokens_exact: tokens.exact,
            max_output_tokens: max_output_tokens(&body),
            ask_tail: self.captured_tail(&ask.text, &captured),
            ask: captured,
            system: self.captured_system(&found.parts),
        }
    }

    /// What is known of the ask: remembered, or measured and kept. And its words under the model.
    fn ask_stats(
        &self,
        ask: &str,
        key: Option<Key>,
        recall: &Recall<'_>,
        model: Option<&InForce>,
    ) -> (AskStats, WordSum) {
        let known = match (recall.ask(key), model) {
            (Some(stats), None) => return (stats, WordSum::default()),
            (Some(stats), Some(held)) => match held.recall(stats.word_sum, &stats.words) {
                Some(sum) => return (stats, sum),
                None => Some(stats), // of another model
            },
            (None, _) => None,
        };
        let mut sum = WordSum::default();
        let meet = |bucket| {
            if let Some(held) = model {
                held.model.add_bucket(&mut sum, bucket);
            }
        };
        let mut stats = match known {
            Some(stats) => AskStats { words: words(ask, meet), ..stats },
            None => self.measure(ask, meet),
        };
        stats.word_sum = model.map(|held| held.known(sum)).unwrap_or_default();
        recall.keep_ask(key, &stats);
        (stats, sum)
    }

    /// Features and raw score of `body`, a chat, without the memo. Calls `meet` with each word bucket of the ask.
    pub(crate) fn read<V: Json>(&self, body: &V, meet: impl FnMut(u32)) -> ([f64; FEATURE_NAMES.len()], f64) {
        let found = extract(body, Format::Chat);
        let mut known = vec![Known::default(); found.parts.len()];
        let ask = newest_ask(&found.parts, &mut known);
        let mut recall = Recall::new(None, found.parts.len());
        let tokens = count_all(&found, &ask, self.exact, &mut recall, (&known, &Known::default()));
        let features = Features::new(&found, &ask, &self.measure(&ask.text, meet), &tokens);
        (features.values(), score(&features, &self.weights, &self.marks).0)
    }

    /// Structure, keywords and words of the ask. Calls `meet` with each word bucket when it is first met.
    fn measure(&self, ask: &str, meet: impl FnMut(u32)) -> AskStats {
        let (structure, prose) = measure(ask);
        AskStats {
            structure,
            keywords: keyword_counts(&prose, &self.keywords),
            words: words(ask, meet),
            word_sum: KnownSum::default(),
        }
    }

    /// What the memo holds and what came of asking it; all 0 without a memo.
    #[must_use]
    pub fn memo_stats(&self) -> MemoStats {
        self.memo.as_ref().map(Memo::stats).unwrap_or_default()
    }

    /// The end of `ask`, of which `captured` is the beginning. The middle of a long ask is not walked over.
    #[inline(never)] // inlined, it makes `analyze` worse for all who set no tail
    fn captured_tail(&self, ask: &str, captured: &str) -> String {
        if self.tail_chars == 0 || captured.len() == ask.len() {
            return String::new();
        }
        let start = ask.char_indices().rev().nth(self.tail_chars - 1).map_or(0, |(at, _)| at);
        ask.get(start..).unwrap_or_default().to_owned()
    }

    fn captured_system<T: AsRef<str>>(&self, parts: &[Part<T>]) -> String {
        let mut captured = String::new();
        let mut left = self.capture_chars;
        let texts = parts.iter().filter(|part| part.role == Role::System).map(|part| part.text.as_ref());
        for (index, text) in texts.enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            for c in separator.chars().chain(text.chars()).take(left) {
                captured.push(c);
                left -= 1;
            }
        }
        captured
    }
}

fn marks(thresholds: &[i64]) -> Result<Marks, Error> {
    let marks: [i64; 5] = thresholds.try_into().map_err(|_| Error::TokenThresholds)?;
    let mut low = 0;
    for mark in marks {
        if mark <= low {
            return Err(Error::TokenThresholds);
        }
        low = mark;
    }
    #[allow(clippy::cast_precision_loss)] // what Python's division of an int by a float does, too
    Ok(marks.map(|mark| mark as f64))
}

fn round_half_up(raw_score: f64) -> u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0-100
    let score = (raw_score + 0.5).floor() as u8;
    score
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{count_tokens, estimate_tokens};
    use serde_json::json;

    fn settings() -> Settings {
        Settings {
            weights: [0.35, 0.05, 0.25, 0.1, 0.15, 0.1],
            token_thresholds: vec![50, 200, 800, 3000, 10000],
            complex_keywords: vec!["prove".to_owned()],
            simple_keywords: vec!["hi".to_owned()],
            encoding: Encoding::O200kBase,
            exact_token_bytes: 65536,
            capture_chars: 10,
            tail_chars: 0,
            memo_bytes: 1 << 20,
        }
    }

    fn analyze(settings: &Settings, body: &serde_json::Value) -> Analysis {
        Analyzer::new(settings).unwrap().analyze(body, Format::Chat)
    }

    #[test]
    fn one_request() {
        let body = json!({
            "max_tokens": 100,
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "messages": [
                {"role": "system", "content": "Rules é"},
                {"role": "developer", "content": "and more"},
                {"role": "user", "content": "Prove it, please, now"},
            ],
        });
        let analysis = analyze(&settings(), &body);
        assert_eq!(analysis.needs, ["tools"]);
        assert_eq!((analysis.ask.as_str(), analysis.system.as_str()), ("Prove it, ", "Rules é\nan"));
        assert_eq!((analysis.max_output_tokens, analysis.tokens_exact), (Some(100), true));
        assert_eq!((analysis.score, analysis.raw_score), (35, 35.0));
        let points: f64 = analysis.contributions.iter().map(|share| share.points).sum();
        assert!((points - analysis.raw_score).abs() < 1e-9);
        assert_eq!(analysis.contributions.last().unwrap().signal, "floor:keywords");
        let feature =
            |name| analysis.features[FEATURE_NAMES.iter().position(|&known| known == name).unwrap()];
        assert_eq!((feature("turns"), feature("messages"), feature("tools")), (1.0, 3.0, 1.0));
        assert_eq!(feature("tool_tokens"), analysis.tool_tokens as f64);
    }

    #[test]
    fn nothing_captured_unless_asked() {
        let body = json!({"messages": [{"role": "user", "content": "secret"}, {"role": "system", "content": "secret"}]});
        let analysis = analyze(&Settings { capture_chars: 0, ..settings() }, &body);
        assert_eq!((analysis.ask.as_str(), analysis.system.as_str()), ("", ""));
    }

    #[test]
    fn the_end_of_an_ask_that_is_longer_than_what_is_captured() {
        let tail = |ask: &str, capture_chars, tail_chars| {
            let body = json!({"messages": [{"role": "user", "content": ask}]});
            let analysis = analyze(&Settings { capture_chars, tail_chars, ..settings() }, &body);
            (analysis.ask, analysis.ask_tail)
        };
        let both = |ask: &str, tail: &str| (ask.to_owned(), tail.to_owned());
        assert_eq!(tail("héllo wörld", 4, 3), both("héll", "rld"));
        assert_eq!(tail("héllo wörld", 4, 4), both("héll", "örld")); // characters, not bytes
        assert_eq!(tail("héllo wörld", 4, usize::MAX), both("héll", "héllo wörld"));
        assert_eq!(tail("héllo wörld", 10, 2), both("héllo wörl", "ld"));
        assert_eq!(tail("héllo wörld", 11, 2), both("héllo wörld", "")); // all of it is captured
        assert_eq!(tail("héllo wörld", 0, 2), both("", "ld"));
        assert_eq!(tail("héllo wörld", 4, 0), both("héll", ""));
        assert_eq!(tail("", 0, 2), both("", ""));
    }

    #[test]
    fn weights_are_ratios() {
        let body = json!({"messages": [{"role": "user", "content": "hi, prove it"}]});
        let doubled = Settings { weights: settings().weights.map(|weight| weight * 2.0), ..settings() };
        assert_eq!(analyze(&settings(), &body), analyze(&doubled, &body));
    }

    #[test]
    fn what_is_remembered_changes_no_analysis() {
        let wrapped = "<reminder>the rules of this house</reminder>prove the theorem of this text";
        let bodies = [
            json!({"messages": [{"role": "user", "content": "prove the theorem of this text"}]}),
            json!({"messages": [{"role": "user", "content": wrapped}, {"role": "system", "content": wrapped}]}),
            json!({"messages": [
                {"role": "user", "content": [wrapped, "<reminder>a reminder and nothing else</reminder>"]},
                {"role": "assistant", "content": "prove the theorem of this text"},
                {"role": "user", "content": [" prove the theorem of this text\n", "```\nlet x = 1;\n```"]},
            ]}),
        ];
        let forgets = Analyzer::new(&Settings { memo_bytes: 0, ..settings() }).unwrap();
        for first in &bodies {
            let remembers = Analyzer::new(&settings()).unwrap();
            for body in [first, first].into_iter().chain(&bodies).chain(&bodies) {
                let expected = forgets.analyze(body, Format::Chat);
                assert_eq!(remembers.analyze(body, Format::Chat), expected, "{body} after {first}");
            }
            assert!(remembers.memo_stats().hits > 0);
        }
        assert_eq!(forgets.memo_stats(), MemoStats::default());
    }

    #[test]
    fn an_estimate_is_remembered_and_costs_no_budget() {
        let (long, short) = (
            "internationalization of internationalists ".repeat(3),
            "unbelievably antidisestablishmentarian",
        );
        let analyzer = Analyzer::new(&Settings { exact_token_bytes: short.len(), ..settings() }).unwrap();
        let analyze = |texts: &[&str]| {
            let messages: Vec<_> =
                texts.iter().map(|text| json!({"role": "assistant", "content": text})).collect();
            let found = analyzer.analyze(&json!({"messages": messages}), Format::Chat);
            (found.context_tokens, found.tokens_exact)
        };
        let encoding = settings().encoding;
        let (estimated, counted) = (estimate_tokens(&long, encoding), count_tokens(short, encoding));
        assert_ne!((estimated, estimate_tokens(short, encoding)), (count_tokens(&long, encoding), counted));
        assert_eq!(analyze(&[&long]), (estimated, false));
        assert_eq!(
            analyze(&[short, &long]),
            (estimated + counted, false),
            "the newest first, but it is known"
        );
        assert_eq!(analyze(&[short]), (counted, true));
        assert_eq!(
            analyze(&[short, "fine"]),
            (counted + 1, true),
            "what is known leaves the budget to new texts"
        );
        let stats = analyzer.memo_stats();
        assert_eq!((stats.hits, stats.misses), (3, 2));
    }

    #[test]
    fn wrong_settings() {
        let refused = |settings| Analyzer::new(&settings).unwrap_err();
        for weights in [[0.0; 6], [1.0, -1.0, 1.0, 1.0, 1.0, 1.0], [f64::NAN; 6], [f64::INFINITY; 6]] {
            assert_eq!(refused(Settings { weights, ..settings() }), Error::Weights);
        }
        for thresholds in [&[1, 2, 3, 4][..], &[0, 1, 2, 3, 4], &[1, 2, 2, 3, 4], &[1, 2, 3, 4, 5, 6]] {
            let token_thresholds = thresholds.to_vec();
            assert_eq!(refused(Settings { token_thresholds, ..settings() }), Error::TokenThresholds);
        }
        let error = refused(Settings { simple_keywords: vec!["a\n".to_owned()], ..settings() });
        assert_eq!(error.to_string(), r#"keyword "a\n": keyword begins or ends with a space"#);
    }

    #[test]
    fn scores_round_half_up() {
        assert_eq!([0.0, 0.49, 0.5, 30.5, 99.5, 100.0].map(round_half_up), [0, 0, 1, 31, 100, 100]);
    }

    #[test]
    fn hostile_bodies_end() {
        let analyzer = Analyzer::new(&settings()).unwrap();
        for unit in [
            "a",
            " ",
            "`",
            "```\n",
            "<reminder>",
            "<reminder>x</reminder>",
            "hi prove ",
            "\u{10ffff}",
            "?\n- ",
        ] {
            let text = unit.repeat(1_000_000 / unit.len());
            let body = json!({"messages": [{"role": "user", "content": text}]});
            assert!(analyzer.analyze(&body, Format::Messages).score <= 100);
        }
        let many =
            json!({"messages": vec![json!({"role": "user", "content": [{"text": "x"}, "y", {}]}); 100_000]});
        assert_eq!(analyzer.analyze(&many, Format::Chat).ask_tokens, 3);
    }
}
