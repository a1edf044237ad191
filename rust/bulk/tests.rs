use super::*;
use crate::analyzer::Settings;
use crate::extract::Format;
use crate::inputs::INPUTS;
use crate::tokens::Encoding;

fn analyzer() -> Analyzer {
    Analyzer::new(&Settings {
        weights: [0.35, 0.05, 0.25, 0.1, 0.15, 0.1],
        token_thresholds: vec![50, 200, 800, 3000, 10000],
        complex_keywords: vec!["prove".to_owned()],
        simple_keywords: vec!["hi".to_owned()],
        encoding: Encoding::O200kBase,
        exact_token_bytes: 65536,
        capture_chars: 0,
        tail_chars: 0,
        memo_bytes: 1 << 20,
    })
    .unwrap()
}

fn numbers<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|bytes| from(bytes.try_into().unwrap())).collect()
}

const TEXTS: [&str; 4] = [
    " Prove it, please: 1 < 2. ",
    "",
    "<reminder>be brief and kind</reminder>hi hi",
    "<reminder>x</reminder>",
];

#[test]
fn a_text_is_what_it_is_as_a_request() {
    let analyzer = analyzer();
    let batch = analyzer.featurize(&TEXTS);
    assert_eq!(analyzer.memo_stats().misses, 0);
    let features = numbers(&batch.features, f64::from_ne_bytes);
    let scores = numbers(&batch.static_scores, f64::from_ne_bytes);
    assert_eq!((features.len(), scores.len()), (TEXTS.len() * FEATURE_NAMES.len(), TEXTS.len()));
    for ((text, features), score) in TEXTS.iter().zip(features.chunks(FEATURE_NAMES.len())).zip(scores) {
        let body = json!({"messages": [{"role": "user", "content": text}]});
        let analysis = analyzer.analyze(&body, Format::Chat);
        assert_eq!((features, score), (&analysis.features[..], analysis.raw_score), "{text}");
    }
    assert_eq!(batch.buckets, word_buckets(&["Prove it, please: 1 < 2.", "", "hi hi", ""]));
    assert_eq!(analyzer.featurize(&[""; 0]), FeatureBatch::default());
}

#[test]
fn rows_of_buckets() {
    let found = word_buckets(&["a b", "", "b"]);
    assert_eq!(numbers(&found.indptr, i64::from_ne_bytes), [0, 3, 3, 4]);
    let indices = numbers(&found.indices, i32::from_ne_bytes);
    assert_eq!((indices.len(), indices[1]), (4, indices[3]));
    assert_eq!(numbers(&word_buckets(&[""; 0]).indptr, i64::from_ne_bytes), [0]);
}

#[test]
fn inputs_of_rows() {
    let features = analyzer().featurize(&TEXTS).features;
    let needs: Vec<Vec<String>> =
        ["tools", "vision", "nothing", "audio"].map(|need| vec![need.to_owned()]).to_vec();
    let without = numbers(&model_inputs(&features, None).unwrap(), f64::from_ne_bytes);
    let with = numbers(&model_inputs(&features, Some(&needs)).unwrap(), f64::from_ne_bytes);
    assert_eq!((without.len(), with.len()), (4 * INPUTS, 4 * INPUTS));
    let rows = without.chunks(INPUTS).zip(with.chunks(INPUTS));
    let differences: Vec<_> =
        rows.map(|(row, other)| row.iter().zip(other).filter(|(a, b)| a != b).count()).collect();
    assert_eq!(differences, [1, 1, 0, 1]);
    assert!(model_inputs(&[], Some(&[])).unwrap().is_empty());
}

#[test]
fn what_does_not_fit() {
    let said = |features: &[u8], needs| model_inputs(features, needs).unwrap_err().to_string();
    let row =
        |value: f64| [value; FEATURE_NAMES.len()].into_iter().flat_map(f64::to_ne_bytes).collect::<Vec<u8>>();
    assert_eq!(said(&[0; 12], None), "features must be float64 [n, 43], and 12 bytes are not");
    assert_eq!(
        said(&row(1.0), Some(&[])),
        "needs must have an item for each of the 1 rows of features, and have 0"
    );
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            said(&[row(1.0), row(value)].concat(), None),
            "features must be finite and not negative, and ask_bytes of row 1 is not"
        );
    }
}
