//! Addresses of the internet.

use std::net::Ipv6Addr;

use super::numbers::Words;
use super::rules::{IP, Span, at, before, is_alnum, is_digit, is_name, part, run};

/// IPv6 addresses, but for `::` and `::1`.
///
/// A group of three digits at least must be in it, and a hexadecimal letter or four groups: `a[1::2]` and `std::fs` are
/// code.
pub(super) fn addresses6(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for colon in memchr::memchr_iter(b':', bytes) {
        if colon < done {
            continue;
        }
        let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'.';
        let head = part(bytes, done, colon).iter().rev().take_while(|byte| is_part(**byte)).count();
        let start = colon - head;
        let mut end = run(bytes, colon, |byte| is_part(byte) || byte == b':', usize::MAX);
        done = end;
        let hangs = |end: usize| match before(bytes, end, 1) {
            b'.' => true,
            b':' => before(bytes, end, 2) != b':',
            _ => false,
        };
        while end > start && hangs(end) {
            end -= 1;
        }
        let bounds = |byte: u8| is_name(byte) || byte == b':';
        if end > start
            && end - start <= 45
            && !bounds(before(bytes, start, 1))
            && !bounds(at(bytes, end))
            && text.get(start..end).is_some_and(is_ip6)
        {
            spans.push(Span { start, end, placeholder: IP });
        }
    }
}

fn is_ip6(found: &str) -> bool {
    let groups = || found.split(':').filter(|group| !group.is_empty());
    let has = |wanted: fn(&u8) -> bool| found.as_bytes().iter().any(wanted);
    groups().any(|group| group.len() >= 3)
        && (groups().count() >= 4 || has(u8::is_ascii_alphabetic))
        && has(u8::is_ascii_digit)
        && found.parse::<Ipv6Addr>().is_ok()
}

/// Four numbers up to 255; no version, no loopback (127.*), no mask (255.*), not 0.*.
pub(super) fn address4(text: &[u8], start: usize, versions: &Words<'_>) -> Option<Span> {
    let sign = start.checked_sub(1 + usize::from(before(text, start, 1) == b' '));
    if let Some(sign) = sign
        && at(text, sign) == b'='
        && b"=<>~!^".contains(&before(text, sign, 1))
    {
        return None;
    }
    match before(text, start, 1) {
        b'.' => return None,
        b'-' | b'/' | b'~' | b'^' if before(text, start, 2).is_ascii_alphabetic() => return None,
        byte if is_name(byte) => return None,
        _ => {}
    }
    let (mut first, mut most, mut end) = (0, 0, start);
    for index in 0..4 {
        if index > 0 && at(text, end) != b'.' {
            return None;
        }
        let begin = end + usize::from(index > 0);
        end = run(text, begin, is_digit, 4);
        let octet = part(text, begin, end);
        if octet.is_empty() || octet.len() > 3 || (octet.len() > 1 && octet.starts_with(b"0")) {
            return None;
        }
        let value = octet.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        first = if index == 0 { value } else { first };
        most = value.max(most);
    }
    let then = at(text, end + 1);
    let goes_on = match at(text, end) {
        b'.' | b'+' => is_alnum(then),
        b'-' => then.is_ascii_alphabetic(),
        byte => is_name(byte),
    };
    let local = most > 255 || matches!(first, 0 | 127 | 255);
    (!goes_on && !local && !versions.stand_before(start, 12)).then_some(Span { start, end, placeholder: IP })
}
