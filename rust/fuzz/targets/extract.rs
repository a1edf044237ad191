//! Bodies through [`Analyzer::analyze`] in every format: what must hold of any analysis, and what must not change it.
//!
//! Bytes that are JSON are taken as they are; any other bytes choose a body made of the names that the extractor reads.

#![no_main]

use std::borrow::Cow;
use std::slice;
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use bsgateway_core::bound::BOUND_STATES;
use bsgateway_core::features::FEATURE_NAMES;
use bsgateway_core::json::{Json, Key, Node, Object};
use bsgateway_core::tokens::Encoding;
use bsgateway_core::{Analysis, Analyzer, Format, Settings, keywords};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Map, Value};

const CAPTURED: usize = 40;
const TAIL: usize = 7;
const FORMATS: [Format; 5] =
    [Format::Chat, Format::Messages, Format::Responses, Format::Completions, Format::GenerateContent];
const NEEDS: [&str; 10] = [
    "vision",
    "audio",
    "file",
    "tools",
    "parallel_tools",
    "json_schema",
    "reasoning",
    "prompt_cache",
    "web_search",
    "server_tools",
];
/// Values that the extractor tells apart, and texts that are more than words to what comes after it.
const WORDS: &str = "text input_text output_text summary_text thinking image image_url input_image audio input_audio file \
    input_file document tool_use server_tool_use mcp_tool_use tool_result web_search_tool_result message function_call \
    custom_tool_call mcp_call local_shell_call reasoning redacted_thinking item_reference compaction container_upload \
    custom namespace web_search function_call_output none auto json_schema json_object enabled \
    adaptive high system developer user assistant model tool function image/png video/mp4 audio/wav application/json \
    prove hi design ``` ~~~ - ? <reminder> </reminder> def é 中文 😀";

/// Counts everything and remembers nothing: what the others are held against.
static PLAIN: LazyLock<Analyzer> = LazyLock::new(|| analyzer(usize::MAX, 0));
/// Remembers texts of all bodies before, and forgets some.
static REMEMBERING: LazyLock<Analyzer> = LazyLock::new(|| analyzer(usize::MAX, 1 << 16));
static BUDGETED: LazyLock<Analyzer> = LazyLock::new(|| analyzer(64, 1 << 16));
static ESTIMATING: LazyLock<Analyzer> = LazyLock::new(|| analyzer(0, 0));

fn analyzer(exact_token_bytes: usize, memo_bytes: usize) -> Analyzer {
    let settings = Settings {
        weights: [0.35, 0.05, 0.25, 0.1, 0.15, 0.1],
        token_thresholds: vec![50, 200, 800, 3000, 10000],
        complex_keywords: keywords::COMPLEX.map(String::from).to_vec(),
        simple_keywords: keywords::SIMPLE.map(String::from).to_vec(),
        exact_token_bytes,
        capture_chars: CAPTURED,
        tail_chars: TAIL,
        memo_bytes,
        encoding: Encoding::default(),
    };
    Analyzer::new(&settings).expect("good settings")
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let body = match serde_json::from_slice(bytes) {
        Ok(body) => body,
        Err(_) => match value(&mut Unstructured::new(bytes), 0) {
            Ok(body) => body,
            Err(_) => return Corpus::Reject,
        },
    };
    for format in FORMATS {
        check(&body, format);
    }
    Corpus::Keep
});

fn check(body: &Value, format: Format) {
    let analysis = PLAIN.analyze(body, format);
    assert_sound(&analysis, body);
    assert!(analysis.tokens_exact, "an endless budget, and not exact: {body}");
    assert_eq!(PLAIN.analyze(Backwards(body), format), analysis, "keys in another order change {body}");
    if let Some(object) = body.as_object() {
        let mut more = object.clone();
        if more.insert("no key of any format".to_owned(), body.clone()).is_none() {
            let more = Value::Object(more);
            assert_eq!(PLAIN.analyze(&more, format), analysis, "an unknown key changes {body}");
        }
    }
    assert_eq!(REMEMBERING.analyze(body, format), analysis, "the memo changes {body}");
    assert_eq!(REMEMBERING.analyze(body, format), analysis, "the memo changes {body} at second sight");
    let estimated = ESTIMATING.analyze(body, format);
    for other in [estimated.clone(), BUDGETED.analyze(body, format), BUDGETED.analyze(body, format)] {
        assert_sound(&other, body);
        if other.tokens_exact {
            assert_eq!(other, analysis, "said to be exact, and is not: {body}");
        }
        for (at, name) in FEATURE_NAMES.iter().enumerate().filter(|(_, name)| !name.ends_with("_tokens")) {
            assert_eq!(other.features[at], analysis.features[at], "{name} depends on the budget: {body}");
        }
        assert_eq!((&other.needs, &other.ask), (&analysis.needs, &analysis.ask), "the budget changes {body}");
        assert_eq!(other.ask_tail, analysis.ask_tail, "the budget changes {body}");
        assert_eq!(other.bound, analysis.bound, "the budget changes {body}");
    }
    assert_eq!(ESTIMATING.analyze(body, format), estimated, "another estimate at second sight of {body}");
}

fn assert_sound(analysis: &Analysis, body: &Value) {
    let size = body.to_string().len();
    let context = || format!("{analysis:?} of {body}");
    assert!((0.0..=100.0).contains(&analysis.raw_score), "{}", context());
    assert!((f64::from(analysis.score) - analysis.raw_score).abs() <= 0.5, "{}", context());
    let points: f64 = analysis.contributions.iter().map(|share| share.points).sum();
    assert!((points - analysis.raw_score).abs() < 1e-9, "{}", context());
    let whole = |count: f64| count >= 0.0 && count <= 2.0 * size as f64 + 8.0 && count.fract() == 0.0;
    assert!(analysis.features.into_iter().all(whole), "{}", context());
    let feature =
        |name| FEATURE_NAMES.iter().position(|&known| known == name).map(|at| analysis.features[at]);
    for (name, tokens) in [
        ("ask_tokens", analysis.ask_tokens),
        ("system_tokens", analysis.system_tokens),
        ("context_tokens", analysis.context_tokens),
        ("tool_tokens", analysis.tool_tokens),
    ] {
        assert_eq!(feature(name), Some(tokens as f64), "{name}: {}", context());
    }
    let mut known = NEEDS.iter();
    assert!(analysis.needs.iter().all(|need| known.any(|known| known == need)), "{}", context());
    let mut known = BOUND_STATES.iter();
    assert!(analysis.bound.iter().all(|state| known.any(|known| known == state)), "{}", context());
    let bound = |state| analysis.bound.contains(&state);
    assert!(bound("thinking") || !bound("open_thinking"), "{}", context());
    assert!(bound("open_tool_call") || feature("results_since_ask") == Some(0.0), "{}", context());
    assert!(
        analysis.max_output_tokens.is_none_or(|limit| (1..=1_000_000_000).contains(&limit)),
        "{}",
        context()
    );
    assert!(
        analysis.ask.chars().count() <= CAPTURED && analysis.system.chars().count() <= CAPTURED,
        "{}",
        context()
    );
    assert!(feature("ask_bytes") >= Some(analysis.ask.len() as f64), "{}", context());
    let whole = feature("ask_bytes") == Some(analysis.ask.len() as f64);
    assert_eq!(analysis.ask_tail.chars().count(), if whole { 0 } else { TAIL }, "{}", context());
}

/// A body made of known names, of values that mean something, and of anything else now and then.
fn value(from: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let most = if depth > 10 { 5 } else { 11 };
    Ok(match from.int_in_range(0..=most)? {
        0 => Value::Null,
        1 => Value::Bool(from.arbitrary()?),
        2 => Value::from(from.arbitrary::<i64>()?),
        3 => Value::from(from.arbitrary::<&str>()?),
        4 | 5 => Value::from(word(from)?),
        6 | 7 => (0..from.int_in_range(0..=6)?)
            .map(|_| value(from, depth + 1))
            .collect::<Result<Vec<Value>>>()?
            .into(),
        _ => {
            let mut object = Map::new();
            for _ in 0..from.int_in_range(0..=6)? {
                object.insert(from.choose(Key::ALL)?.as_str().to_owned(), value(from, depth + 1)?);
            }
            Value::Object(object)
        }
    })
}

fn word<'a>(from: &mut Unstructured<'a>) -> Result<&'static str> {
    static ALL: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| WORDS.split(' ').filter(|word| !word.is_empty()).collect());
    from.choose(&ALL).copied()
}

/// The same value, its objects read from the last key to the first.
#[derive(Clone)]
struct Backwards<'a>(&'a Value);

impl<'a> Json for Backwards<'a> {
    type Text = &'a str;
    type Object = BackwardsObject<'a>;
    type List = std::iter::Map<slice::Iter<'a, Value>, fn(&'a Value) -> Backwards<'a>>;

    fn into_node(self) -> Node<Self::Object, Self::List> {
        match self.0 {
            Value::String(text) => Node::Text(text.len()),
            Value::Object(object) => Node::Object(BackwardsObject(object)),
            Value::Array(items) => Node::List(items.iter().map(Backwards)),
            _ => Node::Other,
        }
    }
    fn as_text(&self) -> Option<&'a str> {
        self.0.as_str()
    }
    fn as_word(&self) -> Option<Cow<'_, str>> {
        self.0.as_str().map(Cow::Borrowed)
    }
    fn as_object(&self) -> Option<BackwardsObject<'a>> {
        self.0.as_object().map(BackwardsObject)
    }
    fn as_list(&self) -> Option<Self::List> {
        self.0.as_array().map(|items| items.iter().map(Backwards as fn(&'a Value) -> Backwards<'a>))
    }
    fn is_int(&self) -> bool {
        self.0.is_i64() || self.0.is_u64()
    }
    fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }
    fn is_true(&self) -> bool {
        *self.0 == Value::Bool(true)
    }
    fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

struct BackwardsObject<'a>(&'a Map<String, Value>);

impl<'a> Object for BackwardsObject<'a> {
    type Value = Backwards<'a>;

    fn key_count(&self) -> usize {
        self.0.len()
    }
    fn get(&self, key: Key) -> Option<Backwards<'a>> {
        self.0.get(key.as_str()).map(Backwards)
    }
    fn each(&self, mut visit: impl FnMut(Option<usize>, Backwards<'a>)) {
        for (key, value) in self.0.iter().rev() {
            visit(Some(key.len()), Backwards(value));
        }
    }
}
