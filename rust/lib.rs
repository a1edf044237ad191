//! The core of BSGateway: reads an LLM request body once and says how hard it is, what it needs and how long it is.
//!
//! It knows no Python: [`json::Json`] lets one extractor read Python objects and `serde_json` values alike, and the
//! binding (`py.rs`, feature `python`) is thin. Data goes one way:
//!
//! ```text
//! body -> extract -> memo -> ask -> structure, tokens, lexicon, words -> features -> score -> Analysis
//! ```
//!
//! The readable twin of this crate is `python/bsgateway/reference/`: same names, same arithmetic, bit-identical results.
//!
//! ```
//! use bsgateway_core::{Analyzer, Encoding, Format, Settings, keywords};
//!
//! let analyzer = Analyzer::new(&Settings {
//!     weights: [0.2, 0.1, 0.3, 0.1, 0.2, 0.1],
//!     token_thresholds: vec![50, 200, 800, 3000, 10000],
//!     complex_keywords: keywords::COMPLEX.map(String::from).to_vec(),
//!     simple_keywords: keywords::SIMPLE.map(String::from).to_vec(),
//!     encoding: Encoding::O200kBase,
//!     exact_token_bytes: 65536,
//!     capture_chars: 0,
//!     tail_chars: 0,
//!     memo_bytes: 1 << 20,
//! })?;
//! let body = serde_json::json!({"messages": [{"role": "user", "content": "Prove that there are infinitely many primes."}]});
//! let analysis = analyzer.analyze(&body, Format::Chat);
//! assert_eq!((analysis.ask_tokens, analysis.needs.len()), (9, 0));
//! assert!(analysis.score >= 35); // one complex keyword
//! # Ok::<(), bsgateway_core::Error>(())
//! ```

#![cfg_attr(not(feature = "python"), forbid(unsafe_code))]

pub mod ask;
pub mod bound;
pub mod bulk;
pub mod chars;
pub mod estimate;
pub mod extract;
pub mod features;
pub mod glob;
pub mod inputs;
pub mod json;
pub mod keywords;
pub mod learned;
pub mod lexicon;
pub mod memo;
pub mod needs;
pub mod redact;
pub mod score;
pub mod structure;
pub mod tokens;
pub mod words;

mod analyzer;
mod bpe;
mod error;
mod pieces;
#[cfg(feature = "python")]
mod py;
mod ranks;

pub use analyzer::{Analysis, Analyzer, Settings};
pub use error::Error;
pub use extract::Format;
pub use glob::GlobSet;
pub use learned::LearnedModel;
pub use memo::MemoStats;
pub use tokens::Encoding;
