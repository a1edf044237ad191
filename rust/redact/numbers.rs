//! Numbers that stand for a person or a machine: payment cards, bank accounts, telephones, addresses of the internet.

use std::cell::OnceCell;

use aho_corasick::AhoCorasick;

use super::internet::address4;
use super::rules::{CARD, IBAN, PHONE, RULES, Span, at, before, is_alnum, is_digit, is_name, part, run};

/// Bank accounts, IPv4 addresses, cards and telephone numbers, in this order where two begin at one place.
pub(super) fn numbers(text: &str, spans: &mut Vec<Span>) {
    let text = text.as_bytes();
    let hints = Words::new(text, RULES.hints.as_ref());
    let versions = Words::new(text, RULES.versions.as_ref());
    let (mut floor, mut chain, mut from) = (0, 0, 0); // where the last span, the last chain of numbers, the last number end
    let begins = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'(');
    while let Some(found) = text.get(from..).and_then(|rest| rest.iter().position(begins)) {
        let start = from + found;
        let digits_end = run(text, start, is_digit, usize::MAX);
        let is_first = start >= chain;
        let span = iban(text, start, digits_end, floor)
            .or_else(|| address4(text, start, &versions))
            .or_else(|| card(text, start))
            .or_else(|| phone(text, start, &hints, is_first));
        if is_first {
            chain = chain_end(text, start);
        }
        from = span.map_or(digits_end.max(start + 1), |span| span.end);
        if let Some(span) = span {
            floor = span.end;
            chain = chain.max(span.end);
            spans.push(span);
        }
    }
}

/// Where the digits that begin at `start` end, single signs between them included.
fn chain_end(text: &[u8], start: usize) -> usize {
    let mut end = start;
    while is_digit(at(text, end)) || (b" -./()+".contains(&at(text, end)) && is_digit(at(text, end + 1))) {
        end += 1;
    }
    end
}

/// Where certain words end, as whole words without regard to case. Looked for when first asked.
pub(super) struct Words<'t> {
    text: &'t [u8],
    words: Option<&'static AhoCorasick>,
    ends: OnceCell<Vec<usize>>,
}

impl<'t> Words<'t> {
    fn new(text: &'t [u8], words: Option<&'static AhoCorasick>) -> Self {
        Self { text, words, ends: OnceCell::new() }
    }

    fn ends(&self) -> &[usize] {
        self.ends.get_or_init(|| {
            let Some(words) = self.words else { return Vec::new() };
            let is_letter = |byte: u8| byte.is_ascii_alphabetic();
            let found = words.find_iter(self.text).filter(|found| {
                !is_letter(before(self.text, found.start(), 1)) && !is_letter(at(self.text, found.end()))
            });
            found.map(|found| found.end()).collect()
        })
    }

    /// Whether one ends at most `most` characters of ASCII before `start`, with no digit and no line end between.
    pub(super) fn stand_before(&self, start: usize, most: usize) -> bool {
        let ends = self.ends();
        let place = ends.partition_point(|&end| end <= start);
        let Some(&end) = place.checked_sub(1).and_then(|last| ends.get(last)) else { return false };
        let fits = |byte: &u8| byte.is_ascii() && !byte.is_ascii_digit() && *byte != b'\n';
        start - end <= most && part(self.text, end, start).iter().all(fits)
    }
}

/// Two letters and two digits, of which `start` is the first, then as many as the country has, plain or in fours.
fn iban(text: &[u8], start: usize, digits_end: usize, floor: usize) -> Option<Span> {
    let begin = start.checked_sub(2).filter(|&begin| begin >= floor)?;
    if digits_end < start + 2 || is_name(before(text, begin, 1)) {
        return None;
    }
    let length = RULES.iban_length(&part(text, begin, start).to_ascii_uppercase());
    if length == 0 {
        return None;
    }
    let mut chars = part(text, begin, start + 2).to_ascii_uppercase();
    let mut end = start + 2;
    while chars.len() < length {
        end += usize::from(chars.len().is_multiple_of(4) && matches!(at(text, end), b' ' | b'-'));
        if !is_alnum(at(text, end)) {
            return None;
        }
        chars.push(at(text, end).to_ascii_uppercase());
        end += 1;
    }
    chars.rotate_left(4);
    (!is_name(at(text, end)) && mod97(&chars) == 1).then_some(Span { start: begin, end, placeholder: IBAN })
}

/// ISO 7064 MOD 97-10, letters as 10 to 35.
fn mod97(chars: &[u8]) -> u32 {
    chars.iter().fold(0, |rest, &char| match char {
        b'0'..=b'9' => (rest * 10 + u32::from(char - b'0')) % 97,
        _ => (rest * 100 + u32::from(char.saturating_sub(b'A')) + 10) % 97,
    })
}

const LAYOUTS: [&[usize]; 7] =
    [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3], &[8, 8], &[6, 10], &[6, 13]];

/// A card number, plain or grouped as on cards, with a known beginning and a sound check digit.
fn card(text: &[u8], start: usize) -> Option<Span> {
    if !matches!(at(text, start), b'2'..=b'6') {
        return None;
    }
    match before(text, start, 1) {
        b'.' => return None,
        b'-' if is_alnum(before(text, start, 2)) => return None,
        byte if is_name(byte) => return None,
        _ => {}
    }
    let first = run(text, start, is_digit, 20) - start;
    let sign = at(text, start + first);
    if matches!(first, 4 | 6 | 8) && matches!(sign, b' ' | b'-') {
        LAYOUTS
            .iter()
            .filter(|layout| layout.first() == Some(&first))
            .find_map(|layout| grouped_card(text, start, layout, sign))
    } else if (14..=19).contains(&first) {
        grouped_card(text, start, &[first], 0)
    } else {
        None
    }
}

fn grouped_card(text: &[u8], start: usize, layout: &[usize], sign: u8) -> Option<Span> {
    let mut digits = Vec::with_capacity(20);
    let mut end = start;
    for &group in layout {
        if !digits.is_empty() {
            if at(text, end) != sign {
                return None;
            }
            end += 1;
        }
        let stop = run(text, end, is_digit, group + 1);
        if stop - end != group {
            return None;
        }
        digits.extend(part(text, end, stop).iter().map(|digit| u32::from(digit - b'0')));
        end = stop;
    }
    let goes_on = match at(text, end) {
        b'-' | b'.' => is_alnum(at(text, end + 1)),
        byte => is_name(byte),
    };
    (!goes_on && is_card(&digits)).then_some(Span { start, end, placeholder: CARD })
}

fn is_card(digits: &[u32]) -> bool {
    let total: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { *digit } else { digit * 2 % 10 + digit / 5 })
        .sum();
    let first = |count| digits.iter().take(count).fold(0, |value, digit| value * 10 + digit);
    let long = matches!(digits.len(), 16 | 19);
    let brand = match (first(1), first(2), first(3), first(4)) {
        (4, ..) => long,
        (_, 51..=55, ..) | (_, _, _, 2200..=2204 | 2221..=2720 | 3528..=3589) => digits.len() == 16,
        (_, 34 | 37, ..) => digits.len() == 15,
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) => digits.len() == 14,
        (_, 62 | 65, ..) | (_, _, 644..=649, _) => long,
        (_, _, _, 6011 | 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763) => long,
        _ => false,
    };
    brand && total.is_multiple_of(10)
}

const NEAR: usize = 32;

/// An international number; a North American one; any other that a word such as `phone` stands before.
fn phone(text: &[u8], start: usize, hints: &Words<'_>, is_first: bool) -> Option<Span> {
    match before(text, start, 1) {
        b'.' | b'+' | b'=' | b'$' | b'#' => return None,
        b'-' | b'/' if is_alnum(before(text, start, 2)) => return None,
        byte if is_name(byte) => return None,
        _ => {}
    }
    let plain = run(text, start, is_digit, 4) - start;
    let american = match (plain, at(text, start + plain)) {
        (3, b'-' | b'.') => true,
        (1, b' ' | b'-' | b'.') => matches!(at(text, start + 2), b'(' | b'2'..=b'9'),
        (length, _) => length == 0, // + or (
    };
    if !american && !is_first {
        return None;
    }
    let number = Number::read(text, start)?;
    let goes_on = match at(text, number.end) {
        b'-' | b'.' | b':' | b'/' => is_alnum(at(text, number.end + 1)),
        byte => is_name(byte),
    };
    if goes_on {
        return None;
    }
    let sound = if at(text, start) == b'+' {
        number.first != b'0' && (8..=15).contains(&number.digits) && (number.signs || number.digits >= 10)
    } else {
        is_american(part(text, start, number.end))
            || ((7..=15).contains(&number.digits) && is_first && hints.stand_before(start, NEAR))
    };
    sound.then_some(Span { start, end: number.end, placeholder: PHONE })
}

/// Digits with signs between them, at most 40 characters.
struct Number {
    end: usize,
    first: u8,
    digits: usize,
    signs: bool,
}

impl Number {
    fn read(text: &[u8], start: usize) -> Option<Self> {
        let mut number = Self { end: start, first: 0, digits: 0, signs: false };
        let mut inside = false;
        let mut place = start + usize::from(at(text, start) == b'+');
        while place < start + 40 {
            let (last, next) = (before(text, place, 1), at(text, place + 1));
            match at(text, place) {
                digit if is_digit(digit) => {
                    number.first = if number.digits == 0 { digit } else { number.first };
                    number.digits += 1;
                    number.end = if inside { number.end } else { place + 1 };
                }
                b'(' if !inside && (is_digit(next) || next == b'+') => {
                    inside = true;
                    number.signs = true;
                }
                b')' if inside => {
                    inside = false;
                    number.end = place + 1;
                }
                b' ' | b'-' | b'.' | b'/'
                    if (is_digit(last) || last == b')') && (is_digit(next) || next == b'(') =>
                {
                    number.signs = true;
                }
                _ => break,
            }
            place += 1;
        }
        is_digit(before(text, number.end, 1)).then_some(number).filter(|number| number.end > start)
    }
}

/// `(415) 555-2671`, `415-555-2671`, `1-415-555-2671`: brackets or the same sign twice.
fn is_american(found: &[u8]) -> bool {
    let found = match found {
        [b'1', b' ' | b'.' | b'-', rest @ ..] => rest,
        _ => found,
    };
    let block = |digits: &[u8]| matches!(digits, [b'2'..=b'9', b, c] if is_digit(*b) && is_digit(*c));
    let (area, rest, bracketed) = match found {
        [b'(', area @ .., _, _, _, _, _, _, _, _] if area.len() >= 4 => {
            let rest = part(found, 5, found.len());
            (part(found, 1, 4), rest.strip_prefix(b" ").unwrap_or(rest), at(found, 4) == b')')
        }
        [_, _, _, b'-' | b'.', rest @ ..] => (part(found, 0, 3), rest, false),
        _ => return false,
    };
    let [a, b, c, sign @ (b'-' | b'.' | b' '), line @ ..] = rest else { return false };
    let same = bracketed || (found.first() != Some(&b'(') && at(found, 3) == *sign);
    block(area) && block(&[*a, *b, *c]) && line.len() == 4 && line.iter().all(u8::is_ascii_digit) && same
}
