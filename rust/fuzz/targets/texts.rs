//! What is measured of a text against naive versions of the same rules, written for clearness and quadratic.

#![no_main]

use std::sync::LazyLock;

use bsgateway_core::ask::strip_harness;
use bsgateway_core::chars::{clean, fold, is_word, trim};
use bsgateway_core::features::{KEYWORD_WINDOW, keyword_counts};
use bsgateway_core::lexicon::Lexicon;
use bsgateway_core::structure::measure;
use libfuzzer_sys::{Corpus, fuzz_target};

/// Longest text, in bytes.
const MOST: usize = 16 * 1024;
const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];
const HARNESS_TAGS: [&str; 26] = [
    "system-reminder",
    "system_reminder",
    "environment_context",
    "environment_details",
    "user_instructions",
    "INSTRUCTIONS",
    "permissions",
    "collaboration_mode",
    "skills_instructions",
    "ide_context",
    "ide_selection",
    "ide_opened_file",
    "ide_diagnostics",
    "open_files",
    "editorContext",
    "reminderInstructions",
    "reminder",
    "workspace_info",
    "local-command-stdout",
    "local-command-stderr",
    "local-command-caveat",
    "command-name",
    "command-message",
    "task-notification",
    "user-prompt-submit-hook",
    "turn_aborted",
];
const COMPLEX: [&str; 8] = ["prove", "refactor*", "race condition", "设计", "c++", "naïve", "a", "of a"];
const SIMPLE: [&str; 5] = ["prove", "hi", "привет*", "ありがとう", "thank you"];

static LEXICON: LazyLock<Lexicon<2>> =
    LazyLock::new(|| Lexicon::new([&COMPLEX[..], &SIMPLE[..]]).expect("good keywords"));

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if bytes.len() > MOST {
        return Corpus::Reject;
    }
    let text = clean(bytes);
    if let Ok(valid) = std::str::from_utf8(bytes) {
        assert_eq!(text, valid, "clean text was changed");
    }
    check_harness(&text);
    check_structure(&text);
    check_keywords(&text);
    Corpus::Keep
});

fn check_harness(text: &str) {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match harness_block(rest) {
            Some(length) => rest = &rest[length..],
            None => {
                kept.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    assert_eq!(strip_harness(text), kept, "harness blocks of {text:?}");
}

/// Length of the harness block that `text` begins with.
fn harness_block(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('<')?;
    let tag = HARNESS_TAGS.into_iter().find(|tag| {
        inner.strip_prefix(tag).is_some_and(|after| after.starts_with('>') || after.starts_with(WHITE))
    })?;
    let close = format!("</{tag}>");
    Some(text.find(&close)? + close.len())
}

fn check_structure(text: &str) {
    let (shape, prose) = measure(text);
    let count = |wanted: fn(char) -> bool| text.chars().filter(|&c| wanted(c)).count();
    assert_eq!(shape.bytes, text.len());
    assert_eq!(shape.lines, count(|c| c == '\n') + 1);
    assert_eq!(shape.words, text.split(WHITE).filter(|word| !word.is_empty()).count(), "words of {text:?}");
    assert_eq!(shape.digits, count(|c| c.is_ascii_digit()));
    assert_eq!(shape.commas, count(|c| matches!(c, ',' | '，' | '、')), "commas of {text:?}");
    assert_eq!(shape.questions, count(|c| matches!(c, '?' | '？' | '؟')), "questions of {text:?}");
    assert_eq!(shape.non_ascii, count(|c| !c.is_ascii()));
    let lines = Lines::of(text);
    assert_eq!(shape.fences, lines.fences, "fences of {text:?}");
    assert_eq!(prose, lines.prose.join("\n"), "prose of {text:?}");
    assert_eq!(shape.code_lines, lines.code, "code lines of {text:?}");
    assert_eq!(
        shape.list_items,
        lines.prose.iter().filter(|line| is_list_item(trim(line))).count(),
        "{text:?}"
    );
    assert_eq!(shape.stack_lines, text.split('\n').filter(|line| is_trace(trim(line))).count(), "{text:?}");
    let inline = |line: &&str| line.matches('`').count() / 2;
    assert_eq!(shape.inline_code, lines.prose.iter().map(inline).sum::<usize>(), "inline code of {text:?}");
}

#[derive(Default)]
struct Lines<'a> {
    prose: Vec<&'a str>,
    fences: usize,
    code: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let mut lines = Self::default();
        let mut fence: Option<(char, usize)> = None;
        for line in text.split('\n') {
            let trimmed = trim(line);
            let mark = trimmed.chars().next().filter(|mark| matches!(mark, '`' | '~'));
            let run = trimmed.chars().take_while(|&c| Some(c) == mark).count();
            match (fence, mark) {
                (Some((open, least)), _) => {
                    if mark == Some(open) && run >= least && run == trimmed.len() {
                        fence = None;
                    } else {
                        lines.code += 1;
                    }
                }
                (None, Some(mark)) if run >= 3 => {
                    fence = Some((mark, run));
                    lines.fences += 1;
                }
                _ => {
                    lines.prose.push(line);
                    lines.code += usize::from(is_code(trimmed));
                }
            }
        }
        lines
    }
}

fn is_code(line: &str) -> bool {
    let starts = "def |class |import |from |func |fn |function |const |let |var |public |private |static |struct |impl \
        |#include|package |return |async def |SELECT |CREATE |@Override|#!/";
    starts.split('|').any(|start| line.starts_with(start))
        || [";", "{", "}", "};", "):", "->"].iter().any(|end| line.ends_with(end))
}

fn is_list_item(line: &str) -> bool {
    let Some((mark, _)) = line.split_once(' ') else { return false };
    let number = mark.strip_suffix(['.', ')']).is_some_and(|number| {
        (1..=3).contains(&number.len()) && number.chars().all(|digit| digit.is_ascii_digit())
    });
    number || ["-", "*", "+"].contains(&mark)
}

fn is_trace(line: &str) -> bool {
    let starts = "Traceback (most recent call last)|Exception in thread|Caused by: |panic: |goroutine |Unhandled \
        exception|stack backtrace:|thread '";
    starts.split('|').any(|start| line.starts_with(start))
        || line.starts_with("at ") && line.ends_with(')') && line.contains('(')
        || line.starts_with("File \"") && line.contains("\", line ")
}

fn check_keywords(text: &str) {
    let folded = fold(text);
    assert_eq!(
        folded.chars().count(),
        text.chars().count(),
        "folding changed the number of characters of {text:?}"
    );
    assert_eq!(fold(&folded), folded, "folding twice differs for {text:?}");
    let chars: Vec<char> = text.chars().collect();
    let windows = if chars.len() > 2 * KEYWORD_WINDOW {
        let head = chars[..KEYWORD_WINDOW].iter();
        head.chain(&['\n']).chain(&chars[chars.len() - KEYWORD_WINDOW..]).collect()
    } else {
        text.to_owned()
    };
    let windows: Vec<char> = fold(&windows).chars().collect();
    let expected = |keywords: &[&str]| keywords.iter().filter(|keyword| occurs(keyword, &windows)).count();
    let found = keyword_counts(text, &LEXICON);
    assert_eq!(found, (expected(&COMPLEX), expected(&SIMPLE)), "keywords of {text:?}");
}

/// Whether `keyword` stands somewhere in `text` as a word of its own, or with `*` as the start of one.
fn occurs(keyword: &str, text: &[char]) -> bool {
    let stem: Vec<char> = keyword.trim_end_matches('*').chars().collect();
    let glued = |edge: char, next: Option<&char>| is_word(edge) && next.is_some_and(|&c| is_word(c));
    text.windows(stem.len()).enumerate().any(|(start, window)| {
        let before = start.checked_sub(1).and_then(|before| text.get(before));
        let after = text.get(start + stem.len());
        window == stem
            && !glued(stem[0], before)
            && (keyword.ends_with('*') || !glued(stem[stem.len() - 1], after))
    })
}
