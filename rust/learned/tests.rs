use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::file::{MAX_BYTES, MAX_HEADER};
use super::*;
use crate::features::FEATURE_VERSION;
use crate::words::WORD_BUCKETS;
use crate::{Analyzer, Format, Settings};

/// A model file to be.
#[derive(Clone)]
struct Draft {
    tensors: Vec<(&'static str, &'static str, Vec<usize>, Vec<u8>)>,
    description: Value,
}

fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

impl Draft {
    /// Curves from (0, 0) to (4, 2) for all inputs; the words weigh 2, 1, 0, -1, ... and so on; probabilities from 0.25 at
    /// -10 to 0.75 at 10.
    fn new(kind: &str) -> Self {
        let words = (0..WORD_BUCKETS).flat_map(|bucket| (2 - (bucket % 5) as i16).to_le_bytes()).collect();
        Self {
            tensors: vec![
                ("bias", "F64", vec![1], bytes(&[1.0])),
                ("calibration", "F64", vec![2, 2], bytes(&[-10.0, 10.0, 0.25, 0.75])),
                ("curves", "F64", vec![INPUTS, 2], bytes(&[0.0, 2.0].repeat(INPUTS))),
                ("knots", "F64", vec![INPUTS, 2], bytes(&[0.0, 4.0].repeat(INPUTS))),
                ("word_scale", "F64", vec![1], bytes(&[0.5])),
                ("words", "I16", vec![WORD_BUCKETS], words),
            ],
            description: json!({
                "format": 1, "kind": kind, "feature_version": FEATURE_VERSION, "input_names": INPUT_NAMES.to_vec(),
            }),
        }
    }

    fn tensor(&mut self, name: &str) -> &mut (&'static str, &'static str, Vec<usize>, Vec<u8>) {
        self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
    }

    fn write(&self) -> Vec<u8> {
        let mut header = serde_json::Map::new();
        let mut body = Vec::new();
        for (name, dtype, shape, bytes) in &self.tensors {
            let ends = [body.len(), body.len() + bytes.len()];
            header.insert((*name).to_owned(), json!({"dtype": dtype, "shape": shape, "data_offsets": ends}));
            body.extend(bytes);
        }
        with_header(header.into(), &self.description.to_string(), &body)
    }
}

fn with_header(mut header: Value, description: &str, body: &[u8]) -> Vec<u8> {
    let digest = Sha256::new().chain_update(description).chain_update(body).finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    header["__metadata__"] = json!({"bsgateway": description, "sha256": hex});
    join(header.to_string().as_bytes(), body)
}

fn join(header: &[u8], body: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, body].concat()
}

/// The header and the bytes behind it.
fn parts(data: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(data[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&data[8..8 + length]).unwrap(), data[8 + length..].to_vec())
}

fn refused(data: &[u8]) -> Fault {
    match LearnedModel::new(data) {
        Err(Error::Model(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn changed(change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = Draft::new("trained");
    change(&mut draft);
    draft.write()
}

fn of(sum: i64, buckets: u32) -> WordSum {
    WordSum { sum, buckets }
}

#[test]
fn a_model_scores() {
    let data = Draft::new("prior").write();
    let model = LearnedModel::new(&data).unwrap();
    let (header, _) = parts(&data);
    assert_eq!(header["__metadata__"]["sha256"].as_str().unwrap().get(..12), Some(model.id()));
    assert_eq!(
        (model.kind(), model.description()),
        ("prior", header["__metadata__"]["bsgateway"].as_str().unwrap())
    );
    let mut words = WordSum::default();
    for bucket in [0, 1, 4, 5] {
        model.add_bucket(&mut words, bucket);
    }
    assert_eq!(words, of(2 + 1 - 2 + 2, 4));
    let mut inputs = [0.0; INPUTS];
    (inputs[0], inputs[3]) = (3.0, 9.0);
    let margin = 1.0 + 1.5 + 2.0 + 3.0 * (0.5 / 2.0);
    assert_eq!(model.margin(&inputs, words), margin);
    assert_eq!(model.probability(margin), 0.25 + 0.5 * ((margin + 10.0) / 20.0));
    assert_eq!(
        [-11.0, -10.0, 0.0, 10.0, 1e300].map(|margin| model.probability(margin)),
        [0.25, 0.25, 0.5, 0.75, 0.75]
    );
    assert_eq!(model.margin(&[f64::NAN; INPUTS], WordSum::default()), 1.0, "what is unknown adds nothing");
}

#[test]
fn the_largest_contributions_have_names() {
    let model = LearnedModel::new(&Draft::new("trained").write()).unwrap();
    let mut inputs = [0.0; INPUTS];
    for (at, input) in inputs.iter_mut().take(10).enumerate() {
        *input = 0.1 * (at / 2) as f64; // pairs of equals, two of them 0
    }
    let learned = model.explain(&inputs, of(-3, 9));
    let signals: Vec<_> = learned.contributions.iter().map(|share| share.signal).collect();
    let [_, _, c, d, e, f, g, h, i, j, ..] = INPUT_NAMES;
    assert_eq!(signals, ["base", "words", i, j, g, h, e, f, c, "other"]);
    assert_eq!(learned.contributions.last().unwrap().value, 0.05, "{d}");
    let points: f64 = learned.contributions.iter().map(|share| share.points).sum();
    assert!((points - 100.0 * learned.probability).abs() < 1e-9);
    for share in &learned.contributions[1..] {
        assert_eq!(share.points, share.value * share.weight);
    }
    let bare = model.explain(&[0.0; INPUTS], WordSum::default());
    assert_eq!(bare.contributions.len(), 1, "nothing but the base: {bare:?}");
    assert_eq!(bare.contributions[0].points, 100.0 * bare.probability);
}

#[test]
fn rows_are_predicted_as_one_by_one() {
    let model = LearnedModel::new(&Draft::new("trained").write()).unwrap();
    let inputs: Vec<f64> = [[1.0; INPUTS], [2.5; INPUTS]].concat();
    let ends = |ends: &[i64]| ends.iter().flat_map(|end| end.to_ne_bytes()).collect::<Vec<u8>>();
    let indices = |all: &[i32]| all.iter().flat_map(|index| index.to_ne_bytes()).collect::<Vec<u8>>();
    let native: Vec<u8> = inputs.iter().flat_map(|input| input.to_ne_bytes()).collect();
    let (margins, probabilities) = model.predict(&native, &ends(&[0, 0, 3]), &indices(&[0, 5, 7])).unwrap();
    let expected = [model.margin(&[1.0; INPUTS], of(0, 0)), model.margin(&[2.5; INPUTS], of(4, 3))];
    assert_eq!(margins, expected.map(f64::to_ne_bytes).concat());
    assert_eq!(probabilities, expected.map(|margin| model.probability(margin).to_ne_bytes()).concat());
    for (ends, indices, fault) in [
        (ends(&[0, 3]), indices(&[0, 5, 7]), Fault::Arrays),
        (ends(&[0, 0, 3]), vec![0; 11], Fault::Arrays),
        (ends(&[1, 1, 3]), indices(&[0, 5, 7]), Fault::Indptr),
        (ends(&[0, 2, 1]), indices(&[0]), Fault::Indptr),
        (ends(&[0, -1, 1]), indices(&[0]), Fault::Indptr),
        (ends(&[0, 0, 2]), indices(&[0, 5, 7]), Fault::Indptr),
        (ends(&[0, 0, 1]), indices(&[-1]), Fault::Indices),
        (ends(&[0, 0, 1]), indices(&[WORD_BUCKETS as i32]), Fault::Indices),
    ] {
        assert_eq!(model.predict(&native, &ends, &indices), Err(Error::Model(fault)));
    }
    assert_eq!(model.predict(&native[1..], &ends(&[0, 0, 0]), &[]), Err(Error::Model(Fault::Arrays)));
}

#[test]
fn every_change_of_a_byte_is_seen() {
    let data = Draft::new("trained").write();
    let header = data.len() - parts(&data).1.len();
    let behind = (header..data.len()).step_by(9973);
    let ahead = (0..header).step_by(if cfg!(debug_assertions) { 37 } else { 1 });
    for at in ahead.chain(behind) {
        let mut damaged = data.clone();
        damaged[at] ^= 1;
        assert!(LearnedModel::new(&damaged).is_err(), "byte {at}");
    }
    for length in [0, 7, 8, 100, header, header + 1, data.len() - 1] {
        assert!(LearnedModel::new(&data[..length]).is_err(), "cut at {length}");
    }
    assert_eq!(refused(&[data, vec![0]].concat()), Fault::Trailing);
}

#[test]
fn the_frame() {
    let data = Draft::new("trained").write();
    let (header, body) = parts(&data);
    assert_eq!(refused(&vec![0; MAX_BYTES + 1]), Fault::Large);
    assert_eq!(refused(b"1234567"), Fault::Empty);
    assert_eq!(refused(b"\x80\x04\x95a pickle of something"), Fault::LargeHeader);
    assert_eq!(refused(&(MAX_HEADER as u64 + 1).to_le_bytes()), Fault::LargeHeader);
    assert_eq!(refused(&(MAX_HEADER as u64).to_le_bytes()), Fault::CutHeader);
    assert_eq!(refused(&join(b"{\"\xff\": 1}", &body)), Fault::NotUtf8);
    let text = header.to_string();
    for wrong in [
        "",
        "[]",
        "{",
        "{}}",
        "nothing",
        &format!("{}1", "[".repeat(100_000)),
        &format!(r#"{{"a":{}1{}}}"#, "[".repeat(16), "]".repeat(16)),
        &text.replacen('{', r#"{"bias":1,"#, 1),
        &text.replacen('{', r#"{"a":{"b":1,"b":1},"#, 1),
        &text.replacen('{', r#"{"a":"\ud800","#, 1),
        &text.replacen('{', r#"{"a":1e999,"#, 1),
        &text.replacen('{', r#"{"a":NaN,"#, 1),
    ] {
        assert_eq!(refused(&join(wrong.as_bytes(), &body)), Fault::Json("the header"), "{wrong:.80}");
    }
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(15), "]".repeat(15));
    assert_eq!(
        refused(&join(deep.as_bytes(), &body)),
        Fault::UnknownTensor,
        "of the levels that there may be"
    );
    assert!(LearnedModel::new(&join(format!(" {text} \n").as_bytes(), &body)).is_ok(), "blanks around it");
}

#[test]
fn what_the_header_says_of_tensors() {
    let data = Draft::new("trained").write();
    let (header, body) = parts(&data);
    let fault = |pointer: &str, value: Value| {
        let mut header = header.clone();
        *header.pointer_mut(pointer).unwrap() = value;
        refused(&join(header.to_string().as_bytes(), &body))
    };
    let shape = |tensor, shape: &str| Fault::Shape { tensor, shape: shape.to_owned() };
    assert_eq!(fault("/bias", json!([])), Fault::Entry("bias"));
    assert_eq!(fault("/bias", json!({"dtype": "F64", "shape": [1]})), Fault::Entry("bias"));
    assert_eq!(fault("/bias/dtype", json!("F32")), Fault::Dtype { tensor: "bias", dtype: "F64" });
    assert_eq!(fault("/words/dtype", json!(16)), Fault::Dtype { tensor: "words", dtype: "I16" });
    for wrong in [json!([2]), json!([1, 1]), json!([]), json!(1), json!([-1]), json!([1.0]), json!([true])] {
        assert_eq!(fault("/bias/shape", wrong), shape("bias", "1"));
    }
    assert_eq!(fault("/knots/shape", json!([INPUTS, 17])), shape("knots", &format!("{INPUTS}, 1 to 16")));
    assert_eq!(
        fault("/knots/shape", json!([INPUTS, u64::MAX])),
        shape("knots", &format!("{INPUTS}, 1 to 16"))
    );
    assert_eq!(fault("/calibration/shape", json!([4, 1])), shape("calibration", "2, 2 to 256"));
    for wrong in [json!([0, 7]), json!([8, 0]), json!([0]), json!([-8, 0]), json!([0.0, 8.0]), json!("0, 8")]
    {
        assert_eq!(fault("/bias/data_offsets", wrong), Fault::Offsets("bias"));
    }
    assert_eq!(fault("/bias/data_offsets", json!([u64::MAX - 8, u64::MAX])), Fault::CutTensors);
    assert_eq!(fault("/bias/data_offsets", json!([8, 16])), Fault::Tiling, "bytes that are of two tensors");
    assert_eq!(fault("/__metadata__", json!({})), Fault::Metadata);
    assert_eq!(fault("/__metadata__/sha256", json!(1)), Fault::Metadata);
    assert_eq!(fault("/__metadata__/sha256", json!("")), Fault::Checksum);
    let missing = changed(|draft| draft.tensors.retain(|tensor| tensor.0 != "knots"));
    assert_eq!(refused(&missing), Fault::MissingTensor("knots"));
    let more = changed(|draft| draft.tensors.push(("code", "U32", vec![1], vec![0; 4])));
    assert_eq!(refused(&more), Fault::UnknownTensor);
    let uneven = changed(|draft| {
        (draft.tensor("curves").2, draft.tensor("curves").3) = (vec![INPUTS, 1], vec![0; INPUTS * 8]);
    });
    assert_eq!(refused(&uneven), Fault::CurveShape);
}

#[test]
fn what_the_model_was_made_for() {
    for (field, value, fault) in [
        ("format", json!(2), Fault::Format),
        ("format", json!(1.0), Fault::Format),
        ("kind", json!("oracle"), Fault::Kind),
        ("feature_version", json!(FEATURE_VERSION + 1), Fault::FeatureVersion),
        ("input_names", json!(["ask_bytes"]), Fault::Inputs),
        ("input_names", json!(1), Fault::Inputs),
    ] {
        let data = changed(|draft| draft.description[field] = value);
        assert_eq!(refused(&data), fault);
    }
    let (header, body) = parts(&Draft::new("trained").write());
    for description in ["", "[]", "{\"format\": 1, \"format\": 1}"] {
        assert_eq!(refused(&with_header(header.clone(), description, &body)), Fault::Json("the description"));
    }
}

#[test]
fn the_numbers() {
    for wrong in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1.1e9, -1.1e9, f64::MAX] {
        for name in ["bias", "word_scale", "knots", "curves", "calibration"] {
            let data = changed(|draft| draft.tensor(name).3[..8].copy_from_slice(&wrong.to_le_bytes()));
            assert!(matches!(refused(&data), Fault::Number(tensor) if tensor == name), "{name} {wrong}");
        }
    }
    let set = |name: &str, at: usize, number: f64| {
        changed(|draft| draft.tensor(name).3[8 * at..8 * at + 8].copy_from_slice(&number.to_le_bytes()))
    };
    assert_eq!(refused(&set("knots", 3, -1.0)), Fault::Knots(INPUT_NAMES[1]));
    assert!(LearnedModel::new(&set("knots", 3, 0.0)).is_ok(), "a step");
    assert_eq!(refused(&set("calibration", 1, -10.0)), Fault::Margins);
    for (at, probability) in [(2, 0.8), (2, -0.1), (3, 1.1)] {
        assert_eq!(refused(&set("calibration", at, probability)), Fault::Probabilities);
    }
    let seen = |hashes: &[u32]| {
        let bytes = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        changed(|draft| draft.tensors.push(("seen", "U32", vec![hashes.len()], bytes)))
    };
    assert!(LearnedModel::new(&seen(&[])).is_ok() && LearnedModel::new(&seen(&[0, 7, u32::MAX])).is_ok());
    assert_eq!(refused(&seen(&[7, 7])), Fault::Seen);
    assert_eq!(refused(&seen(&[256, 255])), Fault::Seen);
}

#[test]
fn little_is_taken_for_what_is_refused() {
    let length = MAX_HEADER as u64;
    let lists = "[],".repeat(MAX_HEADER / 3);
    let data = [&length.to_le_bytes(), &b"["[..], lists.as_bytes()].concat();
    let taken = allocation_counter::measure(|| assert_eq!(refused(&data), Fault::Json("the header")));
    assert!(taken.bytes_max < 64 << 20, "{taken:?}");
    let claims = changed(|draft| draft.tensor("calibration").2 = vec![2, 1 << 60]);
    let taken = allocation_counter::measure(|| drop(LearnedModel::new(&claims).unwrap_err()));
    assert!(taken.bytes_max < 1 << 20, "{taken:?}");
}

#[test]
fn an_analyzer_follows_its_model() {
    let settings = |memo_bytes| Settings {
        weights: [1.0; 6],
        token_thresholds: vec![50, 200, 800, 3000, 10000],
        complex_keywords: vec![],
        simple_keywords: vec![],
        encoding: crate::Encoding::O200kBase,
        exact_token_bytes: 65536,
        capture_chars: 0,
        tail_chars: 0,
        memo_bytes,
    };
    let model = |bias: f64| {
        let data = changed(|draft| {
            draft.tensor("bias").3 = bytes(&[bias]);
            draft.tensor("calibration").3 = bytes(&[-1e3, 1e3, 0.0, 1.0]);
        });
        Arc::new(LearnedModel::new(&data).unwrap())
    };
    let reversed = changed(|draft| {
        draft.tensor("words").3.reverse();
        draft.tensor("calibration").3 = bytes(&[-1e3, 1e3, 0.0, 1.0]);
    });
    let models =
        [None, Some(model(0.0)), Some(model(1.0)), Some(Arc::new(LearnedModel::new(&reversed).unwrap()))];
    let body =
        json!({"messages": [{"role": "user", "content": "Prove that there are infinitely many primes."}]});
    let [remembers, forgets] = [1 << 20, 0].map(|bytes| Analyzer::new(&settings(bytes)).unwrap());
    let mut scores = Vec::new();
    for model in models.iter().chain(models.iter().rev()).chain(&models) {
        for analyzer in [&remembers, &forgets] {
            analyzer.set_model(model.clone());
        }
        let expected = forgets.analyze(&body, Format::Chat);
        assert_eq!(
            expected.learned.as_ref().map(|learned| &*learned.scorer_id),
            model.as_deref().map(LearnedModel::id)
        );
        for _ in 0..2 {
            assert_eq!(remembers.analyze(&body, Format::Chat), expected);
        }
        scores.extend(expected.learned.map(|learned| learned.probability.to_bits()));
    }
    scores.sort_unstable();
    scores.dedup();
    assert_eq!(scores.len(), 3, "each model has its own score");
}
