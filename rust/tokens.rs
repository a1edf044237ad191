//! Token counts: exact for OpenAI's o200k_base, and a one-pass estimate for what is over the exact budget.
//!
//! Other providers' tokenizers differ by some 10-20 %: o200k_base is the common yardstick of the log, not a bill.

use crate::chars::is_unspaced;

/// Exact number of o200k_base tokens in `text`; markers such as `<|endoftext|>` count as ordinary text.
///
/// Linear in the length. The tables (32 MB, mapped) are unpacked by the first call, once per process: some 50 ms.
#[must_use]
pub fn count_tokens(text: &str) -> usize {
    bpe_openai::o200k_base().count(text)
}

/// Approximate number of o200k_base tokens in `text`, in one pass over its characters.
///
/// Runs of one class are counted: ASCII letters 1 token per started 7, digits 1 per started 3, ASCII punctuation 1 per
/// started 2, line ends 1 a run, spaces and tabs 1 a run unless it is a single one (it joins the next word), characters
/// of unspaced scripts 3 per 4, other characters 1 per started 3.
#[must_use]
pub fn estimate_tokens(text: &str) -> usize {
    let (mut total, mut state) = (0, START);
    for c in text.chars() {
        let class = if c.is_ascii() {
            ASCII.get(c as usize).copied().unwrap_or(MARK)
        } else if is_unspaced(c) {
            UNSPACED
        } else {
            OTHER
        };
        // In range for any state and class: no check stands between one step and the next.
        let index = usize::from(state) * CLASSES + usize::from(class) % CLASSES;
        state = STEPS.get(index).copied().unwrap_or(START);
        total += usize::from(state / TOKEN);
    }
    total
}

// The estimate is an automaton in a table: a branch at the end of each run would be mispredicted at nearly every word. Its
// state is the class of the run and the place in it, as far as that still matters.
const LETTER: u8 = 0;
const DIGIT: u8 = 1;
const LINE: u8 = 2;
const SPACE: u8 = 3;
const MARK: u8 = 4;
const UNSPACED: u8 = 5;
const OTHER: u8 = 6;
/// The classes, and one that no character has, for the start.
const CLASSES: usize = 8;
/// Places in a run that are told apart.
const PLACES: u8 = 8;
const START: u8 = 7 * PLACES;
/// Added to the next state where a token begins.
const TOKEN: u8 = 64;

static ASCII: [u8; 128] = ascii_classes();
/// The next state for each state (what [`TOKEN`] and above add to it does not matter) and class.
static STEPS: [u8; 256 * CLASSES] = steps();

const fn ascii_classes() -> [u8; 128] {
    let mut classes = [MARK; 128];
    let mut rest: &mut [u8] = &mut classes;
    let mut byte = 0;
    while let Some((class, after)) = rest.split_first_mut() {
        *class = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b'\r' | b'\n' => LINE,
            b' ' | b'\t' => SPACE,
            _ => MARK,
        };
        rest = after;
        byte += 1;
    }
    classes
}

const fn steps() -> [u8; 256 * CLASSES] {
    let mut steps = [START; 256 * CLASSES];
    let mut rest: &mut [u8] = &mut steps;
    let mut index = 0;
    while let Some((step, after)) = rest.split_first_mut() {
        let (state, class) = ((index / CLASSES) as u8 % TOKEN, (index % CLASSES) as u8);
        let place = if state / PLACES == class { state % PLACES } else { 0 };
        // Where the run stands after this character (0 after a whole token), and whether a token begins with it.
        let (next, begins) = match class {
            LETTER => ((place + 1) % 7, place == 0),
            DIGIT | OTHER => ((place + 1) % 3, place == 0),
            LINE => (1, place == 0),
            SPACE => (if place < 2 { place + 1 } else { 2 }, place == 1),
            MARK => ((place + 1) % 2, place == 0),
            _ => ((place + 1) % 4, place != 3),
        };
        *step = class * PLACES + next + if begins { TOKEN } else { 0 };
        rest = after;
        index += 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_exactly() {
        // Counts of OpenAI's tiktoken 0.14.
        for (text, tokens) in [
            ("", 0),
            ("hello world", 2),
            ("<|endoftext|>", 7),
            ("The quick brown fox jumps over the lazy dog.", 10),
            ("你好，世界", 3),
            ("    indented\n\n\tcode();", 6),
        ] {
            assert_eq!(count_tokens(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn automaton_counts_runs_as_said() {
        for (unit, tokens) in [
            ("a", (|run| run.div_ceil(7)) as fn(usize) -> usize),
            ("1", |run| run.div_ceil(3)),
            ("\n", |_| 1),
            (" ", |run| usize::from(run > 1)),
            (".", |run| run.div_ceil(2)),
            ("中", |run| (3 * run).div_ceil(4)),
            ("é", |run| run.div_ceil(3)),
        ] {
            for run in 1..100 {
                assert_eq!(estimate_tokens(&unit.repeat(run)), tokens(run), "{run} times {unit:?}");
            }
        }
    }

    #[test]
    fn estimates_runs() {
        for (text, tokens) in [
            ("", 0),
            ("a", 1),
            ("abcdefg", 1),
            ("abcdefgh", 2),
            ("1234", 2),
            ("a b", 2),
            ("a  b", 3),
            ("\r\n\n", 1),
            (" \n ", 1),
            ("...", 2),
            ("\x00\x7f", 1),
            ("你好世界们", 4),
            ("привет", 2),
            ("a1 .é中", 5),
        ] {
            assert_eq!(estimate_tokens(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn hostile_texts_end() {
        for unit in ["a", " ", "`", "\n", "é", "😀", " a", "1", "中", "\u{301}"] {
            let text = unit.repeat(1_000_000 / unit.len());
            assert!(count_tokens(&text) > 0);
            assert!(estimate_tokens(&text) < text.len() + 1);
        }
    }
}
