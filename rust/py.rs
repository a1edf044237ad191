//! The Python module `bsgateway._core`: conversions, and nothing else. `_core.pyi` holds its types and the same docstrings.
//!
//! The GIL is kept while a request waits: an analysis takes less time than taking the GIL back can, and reads Python
//! objects.
//! Only what works in the background lets go of it: `redact`, `LearnedModel`, and what measures many texts at once.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyMapping, PyString, PyTuple, list, tuple};

use crate::bound::BOUND_STATES;
use crate::bulk::{self, Buckets, FeatureBatch};
use crate::json::{Json, Key, Node, Object};
use crate::learned::{Learned, LearnedModel};
use crate::score::{CONSTANTS, CURVES, Contribution, FLOORS, SIGNALS};
use crate::{
    Analysis, Analyzer, Error, Format, GlobSet, MemoStats, Settings, chars, features, inputs, keywords,
    redact, tokens, words,
};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

/// Runs `work`; a panic becomes a RuntimeError. PyO3's own PanicException is no `Exception`: the gateway, which answers
/// every `Exception` with the fallback tier, would let it end the request.
fn guarded<R>(work: impl FnOnce() -> R) -> PyResult<R> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        PyRuntimeError::new_err(
            "bsgateway._core failed inside; this is a bug, please report the panic on standard error",
        )
    })
}

/// Text of a Python string, borrowed where its UTF-8 form can be.
enum Text {
    Backed(PyBackedStr),
    Owned(String),
}

impl Text {
    fn new(string: &Bound<'_, PyString>) -> Self {
        if let Ok(text) = PyBackedStr::try_from(string.clone()) {
            return Self::Backed(text);
        }
        let str_type = string.py().get_type::<PyString>(); // not the method of a subclass
        let encoded = str_type.call_method1("encode", (string, "utf-8", "surrogatepass"));
        let bytes = encoded.and_then(|encoded| encoded.extract::<Vec<u8>>());
        Self::Owned(bytes.map(|bytes| chars::clean(&bytes).into_owned()).unwrap_or_default())
    }
}

/// Bytes of UTF-8 of a Python string, without a reference to it.
fn utf8_len(string: &Bound<'_, PyString>) -> usize {
    string.to_str().map_or_else(|_| Text::new(string).as_ref().len(), str::len)
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        match self {
            Self::Backed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

/// Any Python object. Subclasses of dict, list, tuple, str and int count as what they derive from.
#[derive(Clone)]
struct Value<'py>(Bound<'py, PyAny>);

impl<'py> Json for Value<'py> {
    type Text = Text;
    type Object = Dict<'py>;
    type List = Items<'py>;

    fn into_node(self) -> Node<Dict<'py>, Items<'py>> {
        if let Ok(string) = self.0.cast::<PyString>() {
            return Node::Text(utf8_len(string));
        }
        let other = match self.0.cast_into::<PyDict>() {
            Ok(dict) => return Node::Object(Dict(dict)),
            Err(error) => Self(error.into_inner()),
        };
        other.as_list().map_or(Node::Other, Node::List)
    }
    fn as_text(&self) -> Option<Text> {
        self.0.cast::<PyString>().ok().map(Text::new)
    }
    fn as_word(&self) -> Option<Cow<'_, str>> {
        let string = self.0.cast::<PyString>().ok()?;
        Some(
            string.to_str().map_or_else(|_| Cow::Owned(Text::new(string).as_ref().to_owned()), Cow::Borrowed),
        )
    }
    fn as_object(&self) -> Option<Dict<'py>> {
        self.0.cast::<PyDict>().ok().cloned().map(Dict)
    }
    fn as_list(&self) -> Option<Items<'py>> {
        if let Ok(list) = self.0.cast::<PyList>() {
            return Some(Items::List(list.iter()));
        }
        self.0.cast::<PyTuple>().ok().map(|tuple| Items::Tuple(tuple.iter()))
    }
    fn is_int(&self) -> bool {
        self.0.is_instance_of::<PyInt>() && !self.0.is_instance_of::<PyBool>()
    }
    fn as_i64(&self) -> Option<i64> {
        if self.is_int() { self.0.extract().ok() } else { None }
    }
    fn is_true(&self) -> bool {
        self.0.cast::<PyBool>().is_ok_and(|value| value.is_true())
    }
    fn is_null(&self) -> bool {
        self.0.is_none()
    }
    fn is_object(&self) -> bool {
        self.0.is_instance_of::<PyDict>()
    }
}

struct Dict<'py>(Bound<'py, PyDict>);

impl<'py> Object for Dict<'py> {
    type Value = Value<'py>;

    fn key_count(&self) -> usize {
        self.0.len()
    }
    fn get(&self, key: Key) -> Option<Value<'py>> {
        static KEYS: PyOnceLock<Vec<Py<PyString>>> = PyOnceLock::new();
        let py = self.0.py();
        let intern = |key: &Key| PyString::intern(py, key.as_str()).unbind();
        let keys = KEYS.get_or_init(py, || Key::ALL.iter().map(intern).collect());
        self.0.get_item(keys.get(key as usize)?).ok().flatten().map(Value)
    }
    fn each(&self, mut visit: impl FnMut(Option<usize>, Value<'py>)) {
        for (key, value) in self.0.iter() {
            let bytes = key.cast::<PyString>().ok().map(utf8_len);
            visit(bytes, Value(value));
        }
    }
}

enum Items<'py> {
    List(list::BoundListIterator<'py>),
    Tuple(tuple::BoundTupleIterator<'py>),
}

impl<'py> Iterator for Items<'py> {
    type Item = Value<'py>;

    fn next(&mut self) -> Option<Value<'py>> {
        match self {
            Self::List(items) => items.next(),
            Self::Tuple(items) => items.next(),
        }
        .map(Value)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::List(items) => items.size_hint(),
            Self::Tuple(items) => items.size_hint(),
        }
    }
}

impl ExactSizeIterator for Items<'_> {}

/// An ordered set of fnmatch patterns, all matched at once. Raises ValueError naming the first bad pattern.
#[pyclass(name = "GlobSet", module = "bsgateway._core", frozen)]
struct PyGlobSet(GlobSet);

#[pymethods]
impl PyGlobSet {
    #[new]
    fn new(patterns: Vec<Bound<'_, PyString>>) -> PyResult<Self> {
        Ok(Self(GlobSet::new(patterns.iter().map(Text::new))?))
    }
    /// Index of the first pattern, in the order given, that matches the whole of `name`; None if none does.
    fn first_match(&self, name: &Bound<'_, PyString>) -> PyResult<Option<usize>> {
        guarded(|| self.0.first_match(Text::new(name).as_ref()))
    }
    fn __len__(&self) -> usize {
        self.0.len()
    }
}

/// What one request is. `score` is `raw_score` rounded half up; tokens are of the analyzer's encoding. Its repr shows no text.
#[pyclass(name = "Analysis", module = "bsgateway._core", frozen, eq)]
#[derive(PartialEq)]
struct PyAnalysis(Analysis);

#[pymethods]
impl PyAnalysis {
    #[getter]
    fn format(&self) -> &'static str {
        self.0.format.name()
    }
    #[getter]
    fn score(&self) -> u8 {
        self.0.score
    }
    #[getter]
    fn raw_score(&self) -> f64 {
        self.0.raw_score
    }
    #[getter]
    fn contributions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        shares(py, &self.0.contributions)
    }
    /// What the model in force makes of it: its id, the probability 0-1, contributions; None without one.
    #[getter]
    #[allow(clippy::type_complexity)] // a tuple in Python
    fn learned<'py>(&self, py: Python<'py>) -> PyResult<Option<(&str, f64, Bound<'py, PyTuple>)>> {
        let Some(Learned { scorer_id, probability, contributions }) = &self.0.learned else {
            return Ok(None);
        };
        Ok(Some((scorer_id.as_ref(), *probability, shares(py, contributions)?)))
    }
    #[getter]
    fn features<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.features)
    }
    #[getter]
    fn needs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.needs)
    }
    #[getter]
    fn bound<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.bound)
    }
    #[getter]
    fn ask_tokens(&self) -> usize {
        self.0.ask_tokens
    }
    #[getter]
    fn system_tokens(&self) -> usize {
        self.0.system_tokens
    }
    #[getter]
    fn context_tokens(&self) -> usize {
        self.0.context_tokens
    }
    #[getter]
    fn tool_tokens(&self) -> usize {
        self.0.tool_tokens
    }
    #[getter]
    fn tokens_exact(&self) -> bool {
        self.0.tokens_exact
    }
    #[getter]
    fn max_output_tokens(&self) -> Option<i64> {
        self.0.max_output_tokens
    }
    #[getter]
    fn ask(&self) -> &str {
        &self.0.ask
    }
    #[getter]
    fn ask_tail(&self) -> &str {
        &self.0.ask_tail
    }
    #[getter]
    fn system(&self) -> &str {
        &self.0.system
    }
    // A repr ends up in logs.
    fn __repr__(&self) -> String {
        let Analysis { format, score, context_tokens, .. } = &self.0;
        format!("Analysis(format='{format}', score={score}, context_tokens={context_tokens}, ...)")
    }
}

/// Prepared from the config once, then safe to share by all threads. Raises ValueError naming what is wrong.
#[pyclass(name = "Analyzer", module = "bsgateway._core", frozen)]
struct PyAnalyzer(Analyzer);

#[pymethods]
impl PyAnalyzer {
    #[new]
    #[pyo3(signature = (
        weights, token_thresholds, complex_keywords, simple_keywords, exact_token_bytes, capture_chars, memo_bytes,
        encoding, tail_chars=0
    ))]
    #[allow(clippy::too_many_arguments)] // named ones in Python
    fn new(
        weights: &Bound<'_, PyMapping>,
        token_thresholds: Vec<i64>,
        complex_keywords: Vec<Bound<'_, PyString>>,
        simple_keywords: Vec<Bound<'_, PyString>>,
        exact_token_bytes: i64,
        capture_chars: i64,
        memo_bytes: i64,
        encoding: &Bound<'_, PyString>,
        tail_chars: i64,
    ) -> PyResult<Self> {
        let texts =
            |keywords: Vec<_>| keywords.iter().map(|word| Text::new(word).as_ref().to_owned()).collect();
        Ok(Self(Analyzer::new(&Settings {
            weights: named_weights(weights)?,
            token_thresholds,
            encoding: Text::new(encoding).as_ref().parse()?,
            complex_keywords: texts(complex_keywords),
            simple_keywords: texts(simple_keywords),
            exact_token_bytes: exact_token_bytes.try_into().map_err(|_| Error::Negative)?,
            capture_chars: capture_chars.try_into().map_err(|_| Error::Negative)?,
            tail_chars: tail_chars.try_into().map_err(|_| Error::Negative)?,
            memo_bytes: memo_bytes.try_into().map_err(|_| Error::Negative)?,
        })?))
    }
    /// Analyse `body`, the JSON object of a request in `format`: chat, messages, responses, completions or
    /// generate_content. Wrong types inside it are ignored. Raises ValueError only for an unknown format.
    fn analyze(&self, body: Bound<'_, PyAny>, format: &Bound<'_, PyString>) -> PyResult<PyAnalysis> {
        let format: Format = Text::new(format).as_ref().parse()?;
        guarded(|| PyAnalysis(self.0.analyze(Value(body), format)))
    }
    /// What each of `texts` is as a chat request of one user message. The memo is left out of it; the GIL is released.
    fn featurize(&self, py: Python<'_>, texts: Vec<Bound<'_, PyString>>) -> PyResult<PyFeatureBatch> {
        let texts: Vec<Text> = texts.iter().map(Text::new).collect();
        let batch = py.detach(|| guarded(|| self.0.featurize(&texts)))?;
        Ok(PyFeatureBatch::new(py, &batch))
    }
    /// Have `model` score the requests to come, as `Analysis.learned`; None: no model does.
    #[pyo3(signature = (model))]
    fn set_model(&self, model: Option<&Bound<'_, PyLearnedModel>>) {
        self.0.set_model(model.map(|model| Arc::clone(&model.get().0)));
    }
    /// What the memo holds and what came of asking it so far; all 0 when `memo_bytes` is 0.
    fn memo_stats(&self) -> PyMemoStats {
        PyMemoStats(self.0.memo_stats())
    }
}

/// What `n` texts are: arrays in the byte order of the machine, row by row.
#[pyclass(name = "FeatureBatch", module = "bsgateway._core", frozen)]
struct PyFeatureBatch {
    /// float64 [n, len(FEATURE_NAMES)].
    #[pyo3(get)]
    features: Py<PyBytes>,
    /// float64 [n]: the raw static scores.
    #[pyo3(get, name = "static")]
    static_scores: Py<PyBytes>,
    /// int64 [n + 1]: the word buckets of text i are `indices[indptr[i]:indptr[i + 1]]`, each once.
    #[pyo3(get)]
    indptr: Py<PyBytes>,
    /// int32: the word buckets.
    #[pyo3(get)]
    indices: Py<PyBytes>,
}

impl PyFeatureBatch {
    fn new(py: Python<'_>, batch: &FeatureBatch) -> Self {
        let FeatureBatch { features, static_scores, buckets } = batch;
        let bytes = |array| PyBytes::new(py, array).unbind();
        Self {
            features: bytes(features),
            static_scores: bytes(static_scores),
            indptr: bytes(&buckets.indptr),
            indices: bytes(&buckets.indices),
        }
    }
}

/// The word buckets of `texts`, which are asks: int64 [n + 1] and int32, as in a `FeatureBatch`. The GIL is released.
#[pyfunction]
fn word_buckets<'py>(
    py: Python<'py>,
    texts: Vec<Bound<'py, PyString>>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let texts: Vec<Text> = texts.iter().map(Text::new).collect();
    let Buckets { indptr, indices, .. } = py.detach(|| guarded(|| bulk::word_buckets(&texts)))?;
    Ok((PyBytes::new(py, &indptr), PyBytes::new(py, &indices)))
}

/// The inputs of a learned model, float64 [n, len(INPUT_NAMES)], of `features`, float64 [n, len(FEATURE_NAMES)], and the
/// needs of each row, or none. Raises ValueError where these do not fit each other. The GIL is released.
#[pyfunction]
fn model_inputs<'py>(
    py: Python<'py>,
    features: PyBackedBytes,
    needs: Option<Vec<Vec<String>>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let found = py.detach(|| guarded(|| bulk::model_inputs(&features, needs.as_deref())))??;
    Ok(PyBytes::new(py, &found))
}

fn shares<'py>(py: Python<'py>, contributions: &[Contribution]) -> PyResult<Bound<'py, PyTuple>> {
    let shares = contributions.iter();
    PyTuple::new(py, shares.map(|share| (share.signal, share.value, share.weight, share.points)))
}

/// A model out of the bytes of its file. Raises ValueError with the reason for a file that is not exactly right. The GIL is
/// released.
#[pyclass(name = "LearnedModel", module = "bsgateway._core", frozen)]
struct PyLearnedModel(Arc<LearnedModel>);

#[pymethods]
impl PyLearnedModel {
    #[new]
    fn new(py: Python<'_>, data: PyBackedBytes) -> PyResult<Self> {
        Ok(Self(Arc::new(py.detach(|| guarded(|| LearnedModel::new(&data)))??)))
    }
    #[getter]
    fn id(&self) -> &str {
        self.0.id()
    }
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind()
    }
    #[getter]
    fn description(&self) -> &str {
        self.0.description()
    }
    /// Margins and probabilities, float64 [n] each, of `inputs`, float64 [n, len(INPUT_NAMES)] row by row, and of the word
    /// buckets `indices`, int32: those from `indptr[i]` to `indptr[i + 1]`, int64 [n + 1], belong to row i. Raises
    /// ValueError where these do not fit each other. The GIL is released.
    fn predict<'py>(
        &self,
        py: Python<'py>,
        inputs: PyBackedBytes,
        indptr: PyBackedBytes,
        indices: PyBackedBytes,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let work = || self.0.predict(&inputs, &indptr, &indices);
        let (margins, probabilities) = py.detach(|| guarded(work))??;
        Ok((PyBytes::new(py, &margins), PyBytes::new(py, &probabilities)))
    }
    fn __repr__(&self) -> String {
        format!("LearnedModel(id='{}', kind='{}')", self.0.id(), self.0.kind())
    }
}

/// Counts of a memo since it was made, and its size now.
#[pyclass(name = "MemoStats", module = "bsgateway._core", frozen, eq)]
#[derive(PartialEq)]
struct PyMemoStats(MemoStats);

#[pymethods]
impl PyMemoStats {
    #[getter]
    fn hits(&self) -> u64 {
        self.0.hits
    }
    #[getter]
    fn misses(&self) -> u64 {
        self.0.misses
    }
    #[getter]
    fn evictions(&self) -> u64 {
        self.0.evictions
    }
    #[getter]
    fn entries(&self) -> usize {
        self.0.entries
    }
    #[getter]
    fn bytes(&self) -> usize {
        self.0.bytes
    }
    #[getter]
    fn capacity_bytes(&self) -> usize {
        self.0.capacity_bytes
    }
    fn __repr__(&self) -> String {
        let MemoStats { hits, misses, evictions, entries, bytes, capacity_bytes } = &self.0;
        format!(
            "MemoStats(hits={hits}, misses={misses}, evictions={evictions}, entries={entries}, bytes={bytes}, \
             capacity_bytes={capacity_bytes})"
        )
    }
}

fn named_weights(weights: &Bound<'_, PyMapping>) -> PyResult<[f64; SIGNALS.len()]> {
    let mut values = [0.0; SIGNALS.len()];
    for (name, value) in SIGNALS.into_iter().zip(&mut values) {
        if !weights.contains(name)? {
            return Err(Error::WeightNames.into());
        }
        *value = weights.get_item(name)?.extract()?;
    }
    if weights.len()? == SIGNALS.len() { Ok(values) } else { Err(Error::WeightNames.into()) }
}

/// Exact number of tokens in `text`, tiktoken's; markers such as <|endoftext|> count as ordinary text. Raises
/// ValueError for an unknown encoding.
#[pyfunction]
#[pyo3(signature = (text, encoding = "o200k_base"), text_signature = "(text, encoding='o200k_base')")]
fn count_tokens(text: &Bound<'_, PyString>, encoding: &str) -> PyResult<usize> {
    let encoding = encoding.parse()?;
    guarded(|| tokens::count_tokens(Text::new(text).as_ref(), encoding))
}

/// Approximate number of tokens in `text`, in one pass over its characters. Raises ValueError for an unknown encoding.
#[pyfunction]
#[pyo3(signature = (text, encoding = "o200k_base"), text_signature = "(text, encoding='o200k_base')")]
fn estimate_tokens(text: &Bound<'_, PyString>, encoding: &str) -> PyResult<usize> {
    let encoding = encoding.parse()?;
    guarded(|| tokens::estimate_tokens(Text::new(text).as_ref(), encoding))
}

/// Build the tables that `count_tokens` needs for `encoding`, so that no request waits for them. Raises ValueError for an
/// unknown encoding.
#[pyfunction]
fn warm(encoding: &str) -> PyResult<()> {
    let encoding = encoding.parse()?;
    guarded(|| tokens::warm(encoding))
}

/// Approximate number of tokens in `text`: the estimate, corrected by how far it is off on samples from all over the text.
/// Raises ValueError for an unknown encoding.
#[pyfunction]
#[pyo3(signature = (text, encoding = "o200k_base"), text_signature = "(text, encoding='o200k_base')")]
fn sample_tokens(text: &Bound<'_, PyString>, encoding: &str) -> PyResult<usize> {
    let encoding = encoding.parse()?;
    guarded(|| tokens::sample_tokens(Text::new(text).as_ref(), encoding))
}

/// Keywords that speak for a hard request, when the config gives none.
#[pyfunction]
fn default_complex_keywords(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, keywords::COMPLEX)
}

/// Keywords that speak for an easy request, when the config gives none.
#[pyfunction]
fn default_simple_keywords(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, keywords::SIMPLE)
}

/// Every number of the static score: curves, constants, floors.
#[pyfunction]
fn score_table(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let curves = PyDict::new(py);
    for (name, marks) in CURVES {
        #[allow(clippy::cast_possible_truncation)] // the marks are whole numbers
        curves.set_item(name, marks.map(|mark| mark as i64).to_vec())?;
    }
    let constants = PyDict::new(py);
    for (name, value) in CONSTANTS {
        constants.set_item(name, value)?;
    }
    let floors = PyList::empty(py);
    for floor in &FLOORS {
        let name = floor.signal.trim_start_matches("floor:");
        let row = (name, floor.feature, floor.least, floor.height).into_pyobject(py)?;
        floors.append(row.to_list())?;
    }
    let table = PyDict::new(py);
    table.set_item("curves", curves)?;
    table.set_item("constants", constants)?;
    table.set_item("floors", floors)?;
    Ok(table)
}

/// `text` with secrets and personal data replaced by `REDACTION_PLACEHOLDERS`. `cut`: the text is the beginning of a
/// longer one, and its last word, which may be half a secret, becomes `[CUT]`.
#[pyfunction(name = "redact")]
#[pyo3(signature = (text, cut = false), text_signature = "(text, cut=False)")]
fn redact_text(text: &Bound<'_, PyString>, cut: bool) -> PyResult<String> {
    let py = text.py();
    let text = Text::new(text);
    py.detach(|| guarded(|| redact::redact(text.as_ref(), cut).into_owned()))
}

/// The compiled core. Its readable twin, the specification, is `bsgateway.reference`.
#[pymodule(name = "_core", gil_used = false)]
fn core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("BOUND_STATES", PyTuple::new(py, BOUND_STATES)?)?;
    module.add("FEATURE_VERSION", features::FEATURE_VERSION)?;
    module.add("FEATURE_NAMES", PyTuple::new(py, features::FEATURE_NAMES)?)?;
    module.add("INPUT_NAMES", PyTuple::new(py, inputs::INPUT_NAMES)?)?;
    module.add("WORD_BUCKETS", words::WORD_BUCKETS)?;
    module.add("SIGNALS", PyTuple::new(py, SIGNALS)?)?;
    module.add("REDACTION_PLACEHOLDERS", PyTuple::new(py, redact::REDACTION_PLACEHOLDERS)?)?;
    module.add_class::<PyAnalysis>()?;
    module.add_class::<PyAnalyzer>()?;
    module.add_class::<PyFeatureBatch>()?;
    module.add_class::<PyGlobSet>()?;
    module.add_class::<PyLearnedModel>()?;
    module.add_class::<PyMemoStats>()?;
    module.add_function(wrap_pyfunction!(count_tokens, module)?)?;
    module.add_function(wrap_pyfunction!(estimate_tokens, module)?)?;
    module.add_function(wrap_pyfunction!(sample_tokens, module)?)?;
    module.add_function(wrap_pyfunction!(default_complex_keywords, module)?)?;
    module.add_function(wrap_pyfunction!(default_simple_keywords, module)?)?;
    module.add_function(wrap_pyfunction!(score_table, module)?)?;
    module.add_function(wrap_pyfunction!(redact_text, module)?)?;
    module.add_function(wrap_pyfunction!(warm, module)?)?;
    module.add_function(wrap_pyfunction!(word_buckets, module)?)?;
    module.add_function(wrap_pyfunction!(model_inputs, module)?)?;
    Ok(())
}
