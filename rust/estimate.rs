//! Approximate token counts, in one pass over the characters.
//!
//! The estimate is the sum of one weight for each character. The weight depends on the character's class, on the class of
//! the one before it, and on how long a run of letters that one ends. Classes and weights are a file that `benches/estimator`
//! fits to the exact counts of many kinds of text, and measures on others.

use crate::tokens::Encoding;

/// What the file holds: the class of each code point of the basic multilingual plane, the number of the classes that are
/// letters, a zero, then for each encoding the weights as little-endian 16-bit numbers.
static TABLE: &[u8; BMP + 2 + 2 * 2 * WEIGHTS] = include_bytes!("../python/bsgateway/data/estimator.bin");

const BMP: usize = 0x1_0000;
const CLASSES: u16 = 128;
/// Places in a run of letters that are told apart: after 0 or 1, 2 or 3, 4 or 5, 6 or more of them.
const PLACES: u16 = 4;
/// One for each place, class before and class: every 16-bit number is an index.
const WEIGHTS: usize = PLACES as usize * CLASSES as usize * CLASSES as usize;
/// Weights are whole numbers of this part of a token.
const UNIT: u64 = 4096;

/// The two classes beyond the basic multilingual plane.
const EMOJI: u8 = 126;
const OTHER: u8 = 127;

/// Classes below this one are letters.
const LETTERS: u8 = TABLE[BMP];
static O200K_BASE: [u16; WEIGHTS] = weights(0);
static CL100K_BASE: [u16; WEIGHTS] = weights(1);

/// Approximate number of tokens in `text`: 0 for an empty one, for any other 1 to the number of its bytes.
#[must_use]
pub fn estimate_tokens(text: &str, encoding: Encoding) -> usize {
    let weights = match encoding {
        Encoding::O200kBase => &O200K_BASE,
        Encoding::Cl100kBase => &CL100K_BASE,
    };
    let mut pass = Pass { weights, total: 0, before: class('\n'.into()), letters: 0 };
    let mut bytes = text.as_bytes();
    loop {
        // By hand, as `str::chars` takes twice the time for what is mostly ASCII.
        while let [byte @ ..0x80, rest @ ..] = bytes {
            pass.step(class(u32::from(*byte)));
            bytes = rest;
        }
        let (point, rest) = match bytes {
            [a @ ..0xe0, b, rest @ ..] => (bits(*a, 0x1f) << 6 | bits(*b, 0x3f), rest),
            [a @ ..0xf0, b, c, rest @ ..] => {
                (bits(*a, 0x0f) << 12 | bits(*b, 0x3f) << 6 | bits(*c, 0x3f), rest)
            }
            [a, b, c, d, rest @ ..] => {
                (bits(*a, 0x07) << 18 | bits(*b, 0x3f) << 12 | bits(*c, 0x3f) << 6 | bits(*d, 0x3f), rest)
            }
            _ => break, // the end: a string holds whole characters
        };
        pass.step(class(point));
        bytes = rest;
    }
    let tokens = usize::try_from((pass.total + UNIT / 2) / UNIT).unwrap_or(usize::MAX);
    tokens.clamp(usize::from(!text.is_empty()), text.len())
}

struct Pass {
    weights: &'static [u16; WEIGHTS],
    total: u64,
    /// Class of the character before.
    before: u8,
    /// A bit for each of the characters before, the last one lowest: whether it is a letter. Instead of a counter, as one
    /// step then waits for the one before it a single cycle only, and there is no branch to mispredict at every word.
    letters: u32,
}

impl Pass {
    #[inline]
    fn step(&mut self, class: u8) {
        let place = PLACE.get(self.letters as usize % PLACE.len()).copied().unwrap_or_default();
        let index = (place * CLASSES + u16::from(self.before)) * CLASSES + u16::from(class);
        self.total += u64::from(self.weights.get(usize::from(index)).copied().unwrap_or_default());
        self.letters = self.letters << 1 | u32::from(class < LETTERS);
        self.before = class;
    }
}

/// The place in a run of letters for what the last six characters were.
static PLACE: [u16; 64] = places();

const fn places() -> [u16; 64] {
    let mut places = [0; 64];
    let mut rest: &mut [u16] = &mut places;
    let mut letters = 0_u16;
    while let Some((place, after)) = rest.split_first_mut() {
        *place = letters.trailing_ones() as u16 / 2;
        letters += 1;
        rest = after;
    }
    places
}

#[inline]
fn class(point: u32) -> u8 {
    let class = match point {
        0x1_f000..=0x1_fbff => EMOJI,
        0x1_0000.. => OTHER,
        _ => TABLE.get(point as usize).copied().unwrap_or(OTHER),
    };
    class % 128 // nothing in the file can bring an index out of range
}

#[inline]
fn bits(byte: u8, mask: u8) -> u32 {
    u32::from(byte & mask)
}

const fn weights(encoding: usize) -> [u16; WEIGHTS] {
    let (_, table) = TABLE.split_at(BMP + 2 + encoding * 2 * WEIGHTS);
    let (mut bytes, _) = table.as_chunks::<2>();
    let mut weights = [0; WEIGHTS];
    let mut rest: &mut [u16] = &mut weights;
    while let (Some((weight, weights_after)), Some((pair, bytes_after))) =
        (rest.split_first_mut(), bytes.split_first())
    {
        *weight = u16::from_le_bytes(*pair);
        (rest, bytes) = (weights_after, bytes_after);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::O200kBase, Encoding::Cl100kBase];

    /// As the module says, without shortcuts.
    fn plainly(text: &str, weights: &[u16]) -> usize {
        let (mut total, mut before, mut run) = (0, class(10), 0);
        for c in text.chars() {
            let own = class(c.into());
            total += u64::from(weights[(run / 2 * 128 + usize::from(before)) * 128 + usize::from(own)]);
            run = if own < LETTERS { 7.min(run + 1) } else { 0 };
            before = own;
        }
        (((total + 2048) / 4096) as usize).clamp(usize::from(!text.is_empty()), text.len())
    }

    #[test]
    fn reads_every_character() {
        let all: String = ('\0'..=char::MAX).collect();
        for length in [1, 7, 1000, all.len()] {
            for text in all.char_indices().step_by(length).filter_map(|(at, _)| all.get(at..)?.get(..length))
            {
                assert_eq!(
                    estimate_tokens(text, Encoding::O200kBase),
                    plainly(text, &O200K_BASE),
                    "{text:?}"
                );
                assert_eq!(
                    estimate_tokens(text, Encoding::Cl100kBase),
                    plainly(text, &CL100K_BASE),
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_nothing_and_something_is_something() {
        for encoding in BOTH {
            assert_eq!(estimate_tokens("", encoding), 0);
            for c in '\0'..=char::MAX {
                assert!((1..=8).contains(&estimate_tokens(c.encode_utf8(&mut [0; 4]), encoding)), "{c:?}");
            }
        }
    }

    #[test]
    fn comes_near_on_plain_texts() {
        for text in [
            "The committee met on Tuesday to weigh the three proposals, none of which had found a majority in spring. ",
            "def merge(left, right):\n    while left and right:\n        yield min(left, right).pop(0)\n\n",
            r#"{"type":"function","function":{"name":"read_file","parameters":{"type":"object"}}},"#,
            "我们需要一个更好的算法来解决这个问题，并且在下周之前完成测试。",
        ] {
            let text = text.repeat(20);
            for encoding in BOTH {
                let (exact, estimate) =
                    (crate::tokens::count_tokens(&text, encoding), estimate_tokens(&text, encoding));
                assert!(exact.abs_diff(estimate) * 3 < exact, "{encoding}: {estimate} for {exact}: {text:?}");
            }
        }
    }
}
