//! E-mail addresses.

use super::rules::{EMAIL, Span, at, before};
use crate::chars::is_word;

/// Accounts of services, not of people: `git@github.com:owner/repository`.
const SERVICES: [&str; 3] = ["git", "hg", "svn"];
/// No top-level domains, but common after an @ in file names and code.
const ENDINGS: [&str; 39] = [
    "png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "js", "mjs", "cjs", "ts", "tsx", "jsx", "css", "scss",
    "json", "html", "htm", "txt", "yml", "yaml", "toml", "lock", "tgz", "gz", "tar", "whl", "rb", "cpp",
    "hpp", "java", "xml", "service", "timer", "target", "socket", "mount", "dtype", "shape",
];

/// `local@domain.tld`, letters of any script that puts spaces between words included. Not before a `(`: code.
pub(super) fn addresses(text: &str, spans: &mut Vec<Span>) {
    let mut floor = 0;
    for mark in memchr::memchr_iter(b'@', text.as_bytes()) {
        let start = local_start(text, floor, mark);
        floor = mark + 1;
        if start < mark
            && let Some(end) = domain_end(text, mark + 1)
            && text.get(start..mark).is_some_and(|local| !SERVICES.contains(&local))
        {
            spans.push(Span { start, end, placeholder: EMAIL });
            floor = end;
        }
    }
}

fn is_letter(c: char) -> bool {
    !c.is_ascii() && is_word(c)
}

fn local_start(text: &str, floor: usize, mark: usize) -> usize {
    let accepts = |c: char| c.is_ascii_alphanumeric() || "._%+'-".contains(c) || is_letter(c);
    let head = text.get(floor..mark).unwrap_or_default();
    let local = head.trim_start_matches(|_| false);
    let kept = local.trim_end_matches(accepts).len();
    let mut start = floor + kept;
    let bytes = text.as_bytes();
    if before(bytes, start, 1) == b'\\' && matches!(at(bytes, start), b'n' | b'r' | b't') && mark - start > 1
    {
        start += 1;
    }
    let local = text.get(start..mark).unwrap_or_default();
    mark - local.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && !is_letter(c)).len()
}

/// Where the domain that begins at `start` ends; None if there is none.
fn domain_end(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let outside = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-' || is_letter(c));
    let domain = rest.get(..rest.find(outside).unwrap_or(rest.len()))?.trim_end_matches(['.', '-']);
    let (mut labels, mut count, mut numbers) = (domain.split('.'), 0, true);
    let last = domain.rsplit('.').next()?;
    for label in labels.by_ref() {
        if label.is_empty() {
            return None;
        }
        numbers &= count >= 2 || label.bytes().all(|byte| byte.is_ascii_digit());
        count += 1;
    }
    if count < 2 || domain.starts_with('-') || numbers {
        return None;
    }
    if !last.starts_with("xn--") && !last.chars().all(|c| c.is_ascii_alphabetic() || is_letter(c)) {
        return None;
    }
    let end = start + domain.len();
    let is_code =
        at(text.as_bytes(), end) == b'(' || ENDINGS.iter().any(|ending| last.eq_ignore_ascii_case(ending));
    (last.chars().nth(1).is_some() && !is_code).then_some(end)
}
