//! What can be wrong with a model file.

use super::file::{FORMAT, KINDS, MAX_BYTES, MAX_HEADER, MAX_LEVELS, MAX_NUMBER};
use crate::features::FEATURE_VERSION;
use crate::words::WORD_BUCKETS;

/// Why a model file is refused. No message quotes the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Larger than any model is.
    #[error("the file is larger than {MAX_BYTES} bytes")]
    Large,
    /// Not even the length of a header.
    #[error("the file is cut short: it has no header")]
    Empty,
    /// The first eight bytes are no length of a header.
    #[error("the file is no safetensors file, or its header is larger than {MAX_HEADER} bytes")]
    LargeHeader,
    /// Ends within the header.
    #[error("the file is cut short: its header is not all there")]
    CutHeader,
    /// The header is no text.
    #[error("the header is not UTF-8")]
    NotUtf8,
    /// The header or the description is not JSON, too deep, or has a name twice.
    #[error("{0} is no JSON object of at most {MAX_LEVELS} levels, in which no name stands twice")]
    Json(&'static str),
    /// A tensor that no model has.
    #[error("the header names a tensor that no model has")]
    UnknownTensor,
    /// A tensor that all models have is not there.
    #[error("tensor {0} is missing")]
    MissingTensor(&'static str),
    /// What the header says about a tensor is incomplete, or more than it should.
    #[error("tensor {0}: its entry is not made of dtype, shape and data_offsets")]
    Entry(&'static str),
    /// A tensor of other numbers.
    #[error("tensor {tensor}: its dtype is not {dtype}")]
    Dtype {
        /// Its name.
        tensor: &'static str,
        /// What it should be.
        dtype: &'static str,
    },
    /// A tensor of another shape.
    #[error("tensor {tensor}: its shape is not [{shape}]")]
    Shape {
        /// Its name.
        tensor: &'static str,
        /// What it should be.
        shape: String,
    },
    /// A tensor whose bytes are more or fewer than its numbers.
    #[error("tensor {0}: its data_offsets do not fit its shape")]
    Offsets(&'static str),
    /// Ends within the tensors.
    #[error("the file is cut short: its tensors are not all there")]
    CutTensors,
    /// Bytes that belong to two tensors or to none.
    #[error("the tensors overlap, or leave a hole")]
    Tiling,
    /// Bytes behind all tensors.
    #[error("there are bytes behind the tensors")]
    Trailing,
    /// Curves need one height for each knot.
    #[error("tensors knots and curves differ in shape")]
    CurveShape,
    /// No description or no checksum, or something beside them.
    #[error("the file was not written by BSGateway: __metadata__ is not made of bsgateway and sha256")]
    Metadata,
    /// Other bytes than were written.
    #[error("the checksum does not fit: the file was damaged or changed")]
    Checksum,
    /// Another format of the file.
    #[error("the format of the model file is not {FORMAT}: this version of BSGateway cannot read it")]
    Format,
    /// A kind that is not known.
    #[error("the kind of the model is none of {}", KINDS.join(", "))]
    Kind,
    /// Features of another version.
    #[error("the model was trained on features of another version than {FEATURE_VERSION}: train it again")]
    FeatureVersion,
    /// Other inputs.
    #[error("the model was trained on other inputs than this version of BSGateway has: train it again")]
    Inputs,
    /// Infinite, no number, or so large that sums could overflow.
    #[error("tensor {0}: a number is not finite, or beyond {MAX_NUMBER}")]
    Number(&'static str),
    /// Knots that go back.
    #[error("tensor knots: those of {0} are not in ascending order")]
    Knots(&'static str),
    /// Margins that do not go up.
    #[error("tensor calibration: its margins are not in ascending order")]
    Margins,
    /// Probabilities that go down, or are none.
    #[error("tensor calibration: its probabilities are not in ascending order between 0 and 1")]
    Probabilities,
    /// Hashes that do not go up.
    #[error("tensor seen: its hashes are not in ascending order")]
    Seen,
    /// Arrays to predict from that do not belong together.
    #[error("inputs, indptr and indices must be of n x {inputs} float64, n + 1 int64, and int32", inputs = crate::inputs::INPUTS)]
    Arrays,
    /// Rows that overlap or leave a hole.
    #[error("indptr must ascend from 0 to the number of indices")]
    Indptr,
    /// A bucket that is none.
    #[error("indices must be from 0 to {}", WORD_BUCKETS - 1)]
    Indices,
}
