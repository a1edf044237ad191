//! Throughput of the exact token count and of the estimate, on plain and on hostile texts: `cargo bench --bench tokens`.

use std::hint::black_box;

use bsgateway_core::Encoding;
use bsgateway_core::tokens::{count_tokens, estimate_tokens, warm};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SIZE: usize = 64 * 1024;

const PROSE: &str = "The committee met on Tuesday to weigh the three proposals, none of which had found a majority in \
    spring. After two hours of questions it was clear that nobody objected to the bridge itself; what divided the room \
    was who should pay for it, and when. ";
const CODE: &str = "def merge(left: list[int], right: list[int]) -> list[int]:\n    out = []\n    while left and \
    right:\n        out.append(left.pop(0) if left[0] <= right[0] else right.pop(0))\n    return out + left + right\n\n";
const CJK: &str = "我们需要一个更好的算法来解决这个问题。次の会議で設計を確認してください。";
const JSON: &str = r#"{"type":"function","function":{"name":"read_file","parameters":{"type":"object","properties":{"path":{"type":"string"},"limit":{"type":"integer"}},"required":["path"]}}},"#;

fn tokens(criterion: &mut Criterion) {
    let texts = [
        ("prose", PROSE),
        ("code", CODE),
        ("cjk", CJK),
        ("json", JSON),
        ("one_letter", "a"),
        ("spaces", " "),
        ("backticks", "`"),
        ("newlines", "\n"),
    ];
    for (name, unit) in texts {
        let text = unit.repeat(SIZE / unit.len());
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        for encoding in [Encoding::O200kBase, Encoding::Cl100kBase] {
            warm(encoding);
            group.bench_function(format!("count/{encoding}"), |bench| {
                bench.iter(|| count_tokens(black_box(&text), encoding));
            });
            group.bench_function(format!("estimate/{encoding}"), |bench| {
                bench.iter(|| estimate_tokens(black_box(&text), encoding));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, tokens);
criterion_main!(benches);
