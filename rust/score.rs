//! The static score: six weighted signals of 0-100 each, then floors. Every number of it stands in this file.
//!
//! A prior made by hand, and no more: hand-written heuristics hardly route on mixed traffic, so what it is for is a sane
//! start, the features of the log, and a fallback that cannot fail.
//!
//! Arithmetic is in IEEE doubles in the order written: the pure-Python twin gets the same bits.

use crate::features::Features;

/// Names of the weighted signals, in order.
pub const SIGNALS: [&str; 6] = [
    "token_count",
    "system_prompt",
    "keyword_patterns",
    "conversation_length",
    "code_complexity",
    "tool_usage",
];

/// Five ascending marks where a curve reaches 20, 40, 60, 80 and 100; straight lines between, from 0 at 0.
pub type Marks = [f64; 5];

const SYSTEM_TOKENS: Marks = [100.0, 400.0, 1500.0, 5000.0, 15000.0];
const TURNS: Marks = [2.0, 4.0, 8.0, 16.0, 32.0];
const CODE_LINES: Marks = [1.0, 10.0, 40.0, 120.0, 400.0];
const TOOLS: Marks = [1.0, 5.0, 15.0, 40.0, 100.0];
const RESULTS: Marks = [1.0, 4.0, 10.0, 25.0, 60.0];

/// The fixed curves by the signal that they shape.
pub const CURVES: [(&str, Marks); 5] = [
    ("system_prompt", SYSTEM_TOKENS),
    ("conversation_length", TURNS),
    ("code_complexity", CODE_LINES),
    ("tool_usage.tools", TOOLS),
    ("tool_usage.results", RESULTS),
];

const KEYWORD_NEUTRAL: f64 = 25.0;
const KEYWORD_STEP: f64 = 25.0;
const LIST_ITEM_STEP: f64 = 4.0;
const LIST_ITEM_FREE: f64 = 2.0;
const LIST_ITEM_MOST: f64 = 20.0;
const QUESTION_STEP: f64 = 5.0;
const QUESTION_FREE: f64 = 1.0;
const QUESTION_MOST: f64 = 15.0;
const INLINE_CODE_STEP: f64 = 4.0;
const INLINE_CODE_MOST: f64 = 20.0;
const STACK_TRACE_BONUS: f64 = 30.0;
/// Half of the tool signal is what the client declares, half is how far the agent has gone since the ask.
const TOOLS_SHARE: f64 = 0.5;

/// The other numbers of the signals.
pub const CONSTANTS: [(&str, f64); 12] = [
    ("keyword_neutral", KEYWORD_NEUTRAL),
    ("keyword_step", KEYWORD_STEP),
    ("list_item_step", LIST_ITEM_STEP),
    ("list_item_free", LIST_ITEM_FREE),
    ("list_item_most", LIST_ITEM_MOST),
    ("question_step", QUESTION_STEP),
    ("question_free", QUESTION_FREE),
    ("question_most", QUESTION_MOST),
    ("inline_code_step", INLINE_CODE_STEP),
    ("inline_code_most", INLINE_CODE_MOST),
    ("stack_trace_bonus", STACK_TRACE_BONUS),
    ("tools_share", TOOLS_SHARE),
];

/// A measurement that by itself lifts the score.
#[derive(Debug)]
pub struct Floor {
    /// What its contribution is called: `floor:` and why.
    pub signal: &'static str,
    /// Name of the measurement: a feature, or `net_keywords`, complex minus simple keywords.
    pub feature: &'static str,
    /// Applies from this value on.
    pub least: f64,
    /// The score is at least this.
    pub height: f64,
    value: fn(&Features) -> f64,
}

macro_rules! floor {
    ($name:literal, net_keywords, $least:literal, $height:literal) => {
        Floor {
            signal: concat!("floor:", $name),
            feature: "net_keywords",
            least: $least,
            height: $height,
            value: Features::net_keywords,
        }
    };
    ($name:literal, $feature:ident, $least:literal, $height:literal) => {
        Floor {
            signal: concat!("floor:", $name),
            feature: stringify!($feature),
            least: $least,
            height: $height,
            value: |features| features.$feature,
        }
    };
}

/// All floors.
pub const FLOORS: [Floor; 10] = [
    floor!("keywords", net_keywords, 1.0, 35.0),
    floor!("keywords", net_keywords, 2.0, 50.0),
    floor!("keywords", net_keywords, 3.0, 68.0),
    floor!("long_ask", ask_tokens, 2000.0, 40.0),
    floor!("long_ask", ask_tokens, 8000.0, 66.0),
    floor!("code", ask_code_lines, 20.0, 35.0),
    floor!("code", ask_code_lines, 150.0, 66.0),
    floor!("stack_trace", ask_stack_lines, 2.0, 35.0),
    floor!("agent_steps", results_since_ask, 12.0, 40.0),
    floor!("agent_errors", errors_since_ask, 3.0, 66.0),
];

/// A signal's share of the score. The points of all contributions add up to the raw score.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// The signal, or for a floor that lifted the score (it stands last) `floor:` and its name.
    pub signal: &'static str,
    /// The signal itself, 0-100, or the height of the floor.
    pub value: f64,
    /// Its share of all weights, 0-1; 0 for a floor.
    pub weight: f64,
    /// Points of the score.
    pub points: f64,
}

/// Weighted sum of the signals, lifted to the highest floor; at most 100. `weights` add up to 1.
#[must_use]
pub fn score(
    features: &Features,
    weights: &[f64; SIGNALS.len()],
    token_thresholds: &Marks,
) -> (f64, Vec<Contribution>) {
    let mut score = 0.0;
    let mut shares = Vec::with_capacity(SIGNALS.len() + 1);
    let values = signal_values(features, token_thresholds);
    for ((signal, value), &weight) in SIGNALS.into_iter().zip(values).zip(weights) {
        shares.push(Contribution { signal, value, weight, points: weight * value });
        score += weight * value;
    }
    score = f64::min(score, 100.0); // rounding of the shares may overshoot by the last bit
    if let Some(floor) = highest_floor(features).filter(|floor| floor.height > score) {
        shares.push(Contribution {
            signal: floor.signal,
            value: floor.height,
            weight: 0.0,
            points: floor.height - score,
        });
        score = floor.height;
    }
    (score, shares)
}

/// The signals, 0-100 each, in the order of [`SIGNALS`].
#[must_use]
pub fn signal_values(features: &Features, token_thresholds: &Marks) -> [f64; SIGNALS.len()] {
    [
        curve(features.ask_tokens, token_thresholds),
        curve(features.system_tokens, &SYSTEM_TOKENS),
        keyword_patterns(features),
        if features.turns > 1.0 { curve(features.turns, &TURNS) } else { 0.0 },
        code_complexity(features),
        TOOLS_SHARE * curve(features.tools, &TOOLS)
            + (1.0 - TOOLS_SHARE) * curve(features.results_since_ask, &RESULTS),
    ]
}

/// Piecewise linear: 0 at 0, then 20, 40, 60, 80, 100 at the five `marks`, flat beyond the last.
fn curve(value: f64, marks: &Marks) -> f64 {
    let (mut low, mut reached) = (0.0, 0.0);
    for &mark in marks {
        if value < mark {
            return reached + 20.0 * (value - low) / (mark - low);
        }
        low = mark;
        reached += 20.0;
    }
    100.0
}

fn keyword_patterns(features: &Features) -> f64 {
    let lists = (features.ask_list_items - LIST_ITEM_FREE).max(0.0) * LIST_ITEM_STEP;
    let questions = (features.ask_questions - QUESTION_FREE).max(0.0) * QUESTION_STEP;
    let net = KEYWORD_STEP * features.net_keywords();
    clamp(KEYWORD_NEUTRAL + net + lists.min(LIST_ITEM_MOST) + questions.min(QUESTION_MOST))
}

fn code_complexity(features: &Features) -> f64 {
    let inline = (features.ask_inline_code * INLINE_CODE_STEP).min(INLINE_CODE_MOST);
    let trace = if features.ask_stack_lines >= 2.0 { STACK_TRACE_BONUS } else { 0.0 };
    clamp(curve(features.ask_code_lines, &CODE_LINES) + inline + trace)
}

fn clamp(value: f64) -> f64 {
    value.clamp(0.0, 100.0)
}

/// The highest floor that applies, the first of equals.
fn highest_floor(features: &Features) -> Option<&'static Floor> {
    const { &FLOORS }
        .iter()
        .filter(|floor| (floor.value)(features) >= floor.least)
        .reduce(|best, floor| if floor.height > best.height { floor } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Marks = [50.0, 200.0, 800.0, 3000.0, 10000.0];
    const EQUAL: [f64; 6] = [1.0 / 6.0; 6];

    #[test]
    fn curves_go_through_their_marks() {
        assert_eq!(curve(0.0, &TURNS), 0.0);
        assert_eq!(curve(1.0, &TURNS), 10.0);
        for (mark, height) in TURNS.into_iter().zip([20.0, 40.0, 60.0, 80.0, 100.0]) {
            assert_eq!(curve(mark, &TURNS), height);
        }
        assert_eq!(curve(12.0, &TURNS), 70.0);
        assert_eq!(curve(1e9, &TURNS), 100.0);
        assert!(CURVES.iter().all(|(_, marks)| marks.is_sorted() && marks[0] > 0.0));
    }

    #[test]
    fn nothing_scores_the_neutral_keyword_signal_only() {
        assert_eq!(signal_values(&Features::default(), &THRESHOLDS), [0.0, 0.0, 25.0, 0.0, 0.0, 0.0]);
        let (raw, shares) = score(&Features::default(), &EQUAL, &THRESHOLDS);
        assert_eq!(raw, 25.0 * (1.0 / 6.0));
        assert_eq!(shares.len(), 6);
    }

    #[test]
    fn the_highest_floor_lifts() {
        let features = Features { complex_keywords: 3.0, ask_stack_lines: 2.0, ..Features::default() };
        let (raw, shares) = score(&features, &EQUAL, &THRESHOLDS);
        let last = shares.last().unwrap();
        assert_eq!((raw, last.signal, last.value, last.weight), (68.0, "floor:keywords", 68.0, 0.0));
        let tie = Features { ask_tokens: 8000.0, errors_since_ask: 3.0, ..Features::default() };
        assert_eq!(highest_floor(&tie).unwrap().signal, "floor:long_ask");
    }

    #[test]
    fn everything_scores_at_most_100() {
        let most = Features {
            ask_tokens: 1e9,
            ask_list_items: 1e9,
            ask_questions: 1e9,
            ask_code_lines: 1e9,
            ask_inline_code: 1e9,
            ask_stack_lines: 1e9,
            complex_keywords: 1e9,
            system_tokens: 1e9,
            tools: 1e9,
            turns: 1e9,
            results_since_ask: 1e9,
            ..Features::default()
        };
        assert_eq!(signal_values(&most, &THRESHOLDS), [100.0; 6]);
        let tenths = [0.1, 0.2, 0.3, 0.1, 0.2, 0.1];
        let (raw, shares) = score(&most, &tenths, &THRESHOLDS);
        assert!(raw <= 100.0 && shares.len() == 6);
    }
}
