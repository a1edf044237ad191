//! What must hold of every redacted text: it is the same when redacted again, it is made of the text and placeholders, and
//! time does not grow faster than the text.

#![no_main]

use std::time::{Duration, Instant};

use bsgateway_core::chars::clean;
use bsgateway_core::redact::{REDACTION_PLACEHOLDERS, redact};
use libfuzzer_sys::{Corpus, fuzz_target};

/// Longest text, in bytes.
const MOST: usize = 4096;
/// Bytes of the longer text that is made of it, and how long that may take: a thousand times what it does.
const LONG: usize = 1 << 18;
const LIMIT: Duration = Duration::from_secs(5);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if bytes.len() > MOST {
        return Corpus::Reject;
    }
    let text = clean(bytes);
    for cut in [false, true] {
        let once = redact(&text, cut);
        assert_eq!(redact(&once, cut), once, "not the same when redacted again: {text:?}");
        assert_eq!(redact(&once, false), once, "the cut changes what is redacted: {text:?}");
        assert!(once.len() <= 3 * text.len() + 16, "grown to {} bytes: {text:?}", once.len());
        check_kept(&text, &once);
    }
    // Of one input in 64, by what it holds, so that a run can be repeated.
    if bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) % 64 == 0 && !text.is_empty() {
        let long = text.repeat(LONG / text.len() + 1);
        let began = Instant::now();
        let _ = redact(&long, false);
        assert!(began.elapsed() < LIMIT, "{:?} for {text:?} again and again", began.elapsed());
    }
    Corpus::Keep
});

/// What is no placeholder stands in the text, in the same order.
fn check_kept(text: &str, redacted: &str) {
    let mut parts = vec![redacted];
    for placeholder in REDACTION_PLACEHOLDERS {
        parts = parts.into_iter().flat_map(|part| part.split(placeholder)).collect();
    }
    let mut rest = text;
    for part in parts {
        let found = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text:?}"));
        rest = &rest[found + part.len()..];
    }
}
