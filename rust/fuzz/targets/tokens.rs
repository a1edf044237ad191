//! Token counts against another implementation of the same encodings, and what must hold of the estimate.

#![no_main]

use bsgateway_core::tokens::{Encoding, count_tokens, estimate_tokens};
use libfuzzer_sys::{Corpus, fuzz_target};
use tiktoken_rs::{cl100k_base_singleton, o200k_base_singleton};

/// Longest text, in bytes. The other implementation's regular expressions give up on long runs of spaces.
const MOST: usize = 4096;

fuzz_target!(|text: &str| -> Corpus {
    if text.len() > MOST {
        return Corpus::Reject;
    }
    for (encoding, other) in
        [(Encoding::O200kBase, o200k_base_singleton()), (Encoding::Cl100kBase, cl100k_base_singleton())]
    {
        assert_eq!(count_tokens(text, encoding), other.encode_ordinary(text).len(), "{encoding} of {text:?}");
        let estimate = estimate_tokens(text, encoding);
        assert!(estimate <= text.len(), "{encoding}: {estimate} tokens in {} bytes: {text:?}", text.len());
        if text.chars().any(char::is_alphanumeric) {
            assert!(estimate > 0, "{encoding}: nothing in {text:?}");
        }
    }
    Corpus::Keep
});
