//! The scenarios of the gate, one a process: `gate SCENARIO FOLDER`, where `benches/bodies.py` has written the bodies.
//!
//! Prints what the scenario allocates as one JSON object. Instructions are counted by running it under callgrind with
//! `--toggle-collect=*gate::measured*`: only what [`measured`] calls is counted, not reading the body nor warming up.
//! `benches/gate.py` does so for all scenarios and compares them with the committed baseline; see there.
//!
//! The counting allocator costs some instructions an allocation and grows a block by moving it, so the counts are a
//! little above those of the product; they are compared with each other only.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::{env, fs, io};

use allocation_counter::AllocationInfo;
use bsgateway_core::tokens::{Encoding, count_tokens, estimate_tokens};
use bsgateway_core::{Analyzer, Format, GlobSet, Settings, keywords};
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

const ENCODING: Encoding = Encoding::O200kBase;

/// Bodies whose analysis is measured, at first sight and with everything seen before.
const BODIES: [&str; 5] = ["chat_500b", "code_4k", "claude_code_100k", "history_200k", "log_1m"];
/// Bodies made to be slow or large, at first sight only.
const HOSTILE: [&str; 6] =
    ["parts_50k", "tools_10k", "backticks_1m", "no_space_1m", "reminders_1m", "list_items_1m"];
/// The rest: see [`run`].
const OTHERS: [&str; 4] = ["history_200k:next", "glob:20", "tokens:count_8k", "tokens:estimate_8k"];

/// What a cheap and a costly family of model names would be matched with.
const PATTERNS: [&str; 20] = [
    "claude-*-haiku*",
    "claude-*-sonnet*",
    "claude-*-opus*",
    "claude-[0-9]*",
    "gpt-?",
    "gpt-4*",
    "gpt-5-mini*",
    "gpt-5-nano*",
    "gpt-5*",
    "o[134]*",
    "gemini-*-flash*",
    "gemini-*-pro*",
    "mistral-*",
    "llama-*",
    "qwen*-coder*",
    "qwen*",
    "deepseek-*",
    "*/glm-*",
    "openrouter/*/*",
    "local/*",
];

fn main() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [] => {
            for name in BODIES {
                writeln!(out, "{name}:first\n{name}:seen")?;
            }
            for name in HOSTILE {
                writeln!(out, "{name}:first")?;
            }
            writeln!(out, "{}", OTHERS.join("\n"))?;
        }
        [scenario, folder] => {
            let (bytes, AllocationInfo { count_total, bytes_total, bytes_max, .. }) =
                run(scenario, Path::new(folder))?;
            let figures =
                json!({"size": bytes, "blocks": count_total, "allocated": bytes_total, "peak": bytes_max});
            writeln!(out, "{figures}")?;
        }
        _ => return Err("usage: gate, which lists the scenarios, or gate SCENARIO FOLDER".into()),
    }
    Ok(())
}

/// Bytes of input, and what `scenario` allocates.
fn run(scenario: &str, folder: &Path) -> Result<(usize, AllocationInfo), Failure> {
    match scenario {
        "history_200k:next" => {
            let (seen, next) =
                (Body::read(folder, "history_200k")?, Body::read(folder, "history_200k_next")?);
            let analyzer = analyzer()?;
            seen.analyze(&analyzer);
            next.analyze(&self::analyzer()?);
            Ok((next.size, measured(&mut || next.analyze(&analyzer))))
        }
        "glob:20" => {
            let globs = GlobSet::new(PATTERNS)?;
            let name = "local/qwen3-coder-30b-a3b-instruct"; // matched by the last pattern
            Ok((name.len(), measured(&mut || ignore(globs.first_match(black_box(name))))))
        }
        "tokens:count_8k" => {
            let text = prose(folder)?;
            black_box(count_tokens(&text, ENCODING));
            Ok((text.len(), measured(&mut || ignore(count_tokens(black_box(&text), ENCODING)))))
        }
        "tokens:estimate_8k" => {
            let text = prose(folder)?;
            Ok((text.len(), measured(&mut || ignore(estimate_tokens(black_box(&text), ENCODING)))))
        }
        _ => {
            let (name, when) = scenario.split_once(':').ok_or("no such scenario")?;
            let (body, analyzer) = (Body::read(folder, name)?, analyzer()?);
            // Another analyzer unpacks the token tables and fills the caches of the regex engine, which belong to the
            // process, but remembers nothing for this one.
            body.analyze(&self::analyzer()?);
            if when == "seen" {
                body.analyze(&analyzer);
            }
            Ok((body.size, measured(&mut || body.analyze(&analyzer))))
        }
    }
}

/// The name that callgrind is told: what this calls is what is counted.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) -> AllocationInfo {
    black_box(allocation_counter::measure(work))
}

/// Drops `result` where the compiler cannot see that nobody reads it.
fn ignore<R>(result: R) {
    let _ = black_box(result);
}

struct Body {
    value: Value,
    format: Format,
    size: usize,
}

impl Body {
    fn read(folder: &Path, name: &str) -> Result<Self, Failure> {
        let mut file: Value = serde_json::from_slice(&fs::read(folder.join(name).with_extension("json"))?)?;
        let format = file.get("format").and_then(Value::as_str).ok_or("no format")?.parse()?;
        let value = file.get_mut("body").ok_or("no body")?.take();
        Ok(Self { size: value.to_string().len(), value, format })
    }

    fn analyze(&self, analyzer: &Analyzer) {
        ignore(analyzer.analyze(black_box(&self.value), self.format));
    }
}

/// As the reference configuration has it, without capture.
fn analyzer() -> Result<Analyzer, Failure> {
    Ok(Analyzer::new(&Settings {
        weights: [0.35, 0.05, 0.25, 0.1, 0.15, 0.1],
        token_thresholds: vec![50, 200, 800, 3000, 10000],
        complex_keywords: keywords::COMPLEX.map(String::from).to_vec(),
        simple_keywords: keywords::SIMPLE.map(String::from).to_vec(),
        exact_token_bytes: 32_768,
        capture_chars: 0,
        tail_chars: 0,
        memo_bytes: 16 << 20,
        encoding: ENCODING,
    })?)
}

/// The first 8,000 bytes of the agent's system prompt.
fn prose(folder: &Path) -> Result<String, Failure> {
    let body = Body::read(folder, "claude_code_100k")?;
    let text = body.value.pointer("/system/1/text").and_then(Value::as_str).ok_or("no system prompt")?;
    Ok(text.chars().take(8_000).collect())
}
