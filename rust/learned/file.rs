//! The file of a learned model: safetensors, read with hard bounds. Nothing in it is ever executed.
//!
//! What it holds is described in the twin, `python/bsgateway/reference/model_file.py`. Whatever is not exactly so is
//! refused before anything is made of it: memory is bounded by the size of the file.

use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::json::{self, Object, Value};
use super::{Curves, LearnedModel};
use crate::features::FEATURE_VERSION;
use crate::inputs::{INPUT_NAMES, INPUTS};
use crate::words::WORD_BUCKETS;

pub(super) const FORMAT: u64 = 1;
pub(super) const KINDS: [&str; 2] = ["prior", "trained"];
pub(super) const MAX_BYTES: usize = 8 << 20;
pub(super) const MAX_HEADER: usize = 1 << 20;
pub(super) const MAX_LEVELS: usize = 16;
/// No number may be further from 0: so no sum of them can overflow.
pub(super) const MAX_NUMBER: u32 = 1_000_000_000;
const MAX_KNOTS: usize = 16;
const MAX_CALIBRATION: usize = 256;
const MAX_SEEN: usize = 1_000_000;
const ID_DIGITS: usize = 12;

/// What a tensor must be.
struct Kind {
    name: &'static str,
    dtype: &'static str,
    /// Bytes of a number.
    size: usize,
    /// Least and greatest length of each dimension.
    bounds: &'static [(usize, usize)],
}

const fn kind(
    name: &'static str,
    dtype: &'static str,
    size: usize,
    bounds: &'static [(usize, usize)],
) -> Kind {
    Kind { name, dtype, size, bounds }
}

const CURVE: &[(usize, usize)] = &[(INPUTS, INPUTS), (1, MAX_KNOTS)];
const WORDS: Kind = kind("words", "I16", 2, &[(WORD_BUCKETS, WORD_BUCKETS)]);
const WORD_SCALE: Kind = kind("word_scale", "F64", 8, &[(1, 1)]);
const BIAS: Kind = kind("bias", "F64", 8, &[(1, 1)]);
const KNOTS: Kind = kind("knots", "F64", 8, CURVE);
const CURVES: Kind = kind("curves", "F64", 8, CURVE);
const CALIBRATION: Kind = kind("calibration", "F64", 8, &[(2, 2), (2, MAX_CALIBRATION)]);
const SEEN: Kind = kind("seen", "U32", 4, &[(0, MAX_SEEN)]);
const NAMES: [&str; 7] =
    [WORDS.name, WORD_SCALE.name, BIAS.name, KNOTS.name, CURVES.name, CALIBRATION.name, SEEN.name];

/// A tensor in the bytes behind the header.
#[derive(Clone, Copy)]
struct Tensor<'a> {
    start: usize,
    /// The length of its last dimension.
    width: usize,
    bytes: &'a [u8],
}

/// Reads the model in `data`.
pub(super) fn read(data: &[u8]) -> Result<LearnedModel, Fault> {
    let (mut header, body) = split(data)?;
    let metadata = header.remove("__metadata__");
    if header.keys().any(|name| !NAMES.contains(&name.as_str())) {
        return Err(Fault::UnknownTensor);
    }
    let words = required(&header, body, &WORDS)?;
    let word_scale = required(&header, body, &WORD_SCALE)?;
    let bias = required(&header, body, &BIAS)?;
    let knots = required(&header, body, &KNOTS)?;
    let curves = required(&header, body, &CURVES)?;
    let calibration = required(&header, body, &CALIBRATION)?;
    let seen = place(&header, body, &SEEN)?;
    tile([words, word_scale, bias, knots, curves, calibration].into_iter().chain(seen).collect(), body)?;
    if knots.width != curves.width {
        return Err(Fault::CurveShape);
    }
    let (description, checksum) = described(metadata)?;
    check(&description, &checksum, body)?;
    let kind = made_for(&description)?;
    let word_scale = one(floats(&WORD_SCALE, word_scale)?);
    let bias = one(floats(&BIAS, bias)?);
    let width = knots.width;
    let (knots, curves) = (floats(&KNOTS, knots)?, floats(&CURVES, curves)?);
    let mut margins = floats(&CALIBRATION, calibration)?;
    let probabilities = margins.split_off(calibration.width);
    for (row, name) in knots.chunks_exact(width).zip(INPUT_NAMES) {
        if !row.is_sorted() {
            return Err(Fault::Knots(name));
        }
    }
    if !margins.is_sorted_by(|one, other| one < other) {
        return Err(Fault::Margins);
    }
    if !probabilities.is_sorted() || !probabilities.iter().all(|each| (0.0..=1.0).contains(each)) {
        return Err(Fault::Probabilities);
    }
    let hashes = seen.map(|seen| seen.bytes).unwrap_or_default().as_chunks::<4>().0;
    if !hashes.is_sorted_by(|one, other| u32::from_le_bytes(*one) < u32::from_le_bytes(*other)) {
        return Err(Fault::Seen);
    }
    Ok(LearnedModel {
        id: checksum.get(..ID_DIGITS).unwrap_or_default().into(),
        kind,
        description,
        words: words.bytes.as_chunks::<2>().0.iter().map(|&weight| i16::from_le_bytes(weight)).collect(),
        word_scale,
        bias,
        curves: Curves { width, knots, heights: curves },
        margins,
        probabilities,
    })
}

/// The header, and all bytes behind it.
fn split(data: &[u8]) -> Result<(Object, &[u8]), Fault> {
    if data.len() > MAX_BYTES {
        return Err(Fault::Large);
    }
    let (length, rest) = data.split_first_chunk::<8>().ok_or(Fault::Empty)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|&length| length <= MAX_HEADER);
    let (header, body) = rest.split_at_checked(length.ok_or(Fault::LargeHeader)?).ok_or(Fault::CutHeader)?;
    let text = str::from_utf8(header).map_err(|_| Fault::NotUtf8)?;
    Ok((json::object(text, MAX_LEVELS).ok_or(Fault::Json("the header"))?, body))
}

fn required<'a>(header: &Object, body: &'a [u8], kind: &Kind) -> Result<Tensor<'a>, Fault> {
    place(header, body, kind)?.ok_or(Fault::MissingTensor(kind.name))
}

/// Where a tensor is in `body`; None if it is not there.
fn place<'a>(header: &Object, body: &'a [u8], kind: &Kind) -> Result<Option<Tensor<'a>>, Fault> {
    let Kind { name, dtype, .. } = *kind;
    let Some(entry) = header.get(name) else { return Ok(None) };
    let Value::Object(entry) = entry else { return Err(Fault::Entry(name)) };
    let (Some(found), Some(sizes), Some(offsets), 3) =
        (entry.get("dtype"), entry.get("shape"), entry.get("data_offsets"), entry.len())
    else {
        return Err(Fault::Entry(name));
    };
    if found.text() != Some(dtype) {
        return Err(Fault::Dtype { tensor: name, dtype });
    }
    let sizes = lengths(sizes, kind.bounds).ok_or_else(|| shape_fault(kind))?;
    let bytes = sizes.iter().product::<usize>() * kind.size; // within the bounds: far below the largest number
    let [start, end] = offsets.counts().ok_or(Fault::Offsets(name))?;
    if end.checked_sub(start) != Some(bytes as u64) {
        return Err(Fault::Offsets(name));
    }
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
        return Err(Fault::CutTensors);
    };
    let bytes = body.get(start..end).ok_or(Fault::CutTensors)?;
    Ok(Some(Tensor { start, width: sizes.last().copied().unwrap_or_default(), bytes }))
}

/// The lengths of all dimensions, if they are within their bounds.
fn lengths(sizes: &Value, bounds: &[(usize, usize)]) -> Option<Vec<usize>> {
    let Value::List(sizes) = sizes else { return None };
    if sizes.len() != bounds.len() {
        return None;
    }
    let within = |(size, &(low, high)): (&Value, &(usize, usize))| match size {
        Value::Count(size) => usize::try_from(*size).ok().filter(|size| (low..=high).contains(size)),
        _ => None,
    };
    sizes.iter().zip(bounds).map(within).collect()
}

fn shape_fault(kind: &Kind) -> Fault {
    let bounds = kind.bounds.iter();
    let shown =
        bounds.map(|(low, high)| if low == high { low.to_string() } else { format!("{low} to {high}") });
    Fault::Shape { tensor: kind.name, shape: shown.collect::<Vec<_>>().join(", ") }
}

/// Whether the tensors are all of `body`, each byte once.
fn tile(mut tensors: Vec<Tensor<'_>>, body: &[u8]) -> Result<(), Fault> {
    tensors.sort_unstable_by_key(|tensor| (tensor.start, tensor.bytes.len()));
    let mut at = 0;
    for tensor in tensors {
        if tensor.start != at {
            return Err(Fault::Tiling);
        }
        at += tensor.bytes.len();
    }
    if at == body.len() { Ok(()) } else { Err(Fault::Trailing) }
}

/// The description and the checksum.
fn described(metadata: Option<Value>) -> Result<(String, String), Fault> {
    let Some(Value::Object(mut metadata)) = metadata else { return Err(Fault::Metadata) };
    match (metadata.remove("bsgateway"), metadata.remove("sha256"), metadata.is_empty()) {
        (Some(Value::Text(description)), Some(Value::Text(checksum)), true) => Ok((description, checksum)),
        _ => Err(Fault::Metadata),
    }
}

fn check(description: &str, checksum: &str, body: &[u8]) -> Result<(), Fault> {
    let digest = Sha256::new().chain_update(description).chain_update(body).finalize();
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let hex = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    if hex.eq(checksum.chars()) { Ok(()) } else { Err(Fault::Checksum) }
}

/// The kind of the model, after a look at what it was made for.
fn made_for(description: &str) -> Result<&'static str, Fault> {
    let found = json::object(description, MAX_LEVELS).ok_or(Fault::Json("the description"))?;
    if !matches!(found.get("format"), Some(Value::Count(FORMAT))) {
        return Err(Fault::Format);
    }
    let kind = found.get("kind").and_then(Value::text);
    let kind = KINDS.into_iter().find(|&known| Some(known) == kind).ok_or(Fault::Kind)?;
    if !matches!(found.get("feature_version"), Some(Value::Count(version)) if *version == u64::from(FEATURE_VERSION))
    {
        return Err(Fault::FeatureVersion);
    }
    let Some(Value::List(names)) = found.get("input_names") else { return Err(Fault::Inputs) };
    if !names.iter().map(Value::text).eq(INPUT_NAMES.iter().map(|&name| Some(name))) {
        return Err(Fault::Inputs);
    }
    Ok(kind)
}

fn floats(kind: &Kind, tensor: Tensor<'_>) -> Result<Vec<f64>, Fault> {
    let numbers = tensor.bytes.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
    let checked = numbers.map(|number| (number.abs() <= f64::from(MAX_NUMBER)).then_some(number));
    checked.collect::<Option<_>>().ok_or(Fault::Number(kind.name)) // NaN is not below it either
}

fn one(numbers: Vec<f64>) -> f64 {
    numbers.first().copied().unwrap_or_default()
}
