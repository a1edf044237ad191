//! The keyword lists that hold when the config gives none.

/// Keywords that speak for a hard request.
#[rustfmt::skip]
pub const COMPLEX: [&str; 109] = [
    "prove", "proof", "derive", "derivation", "theorem", "optimize*", "optimise*", "refactor*", "debug*",
    "architect*", "design", "redesign", "algorithm*", "implement*", "analyze", "analyse", "analysis",
    "trade-off*", "tradeoff*", "step by step", "reason through", "root cause", "race condition*", "deadlock*",
    "concurren*", "distributed", "scalab*", "security review", "vulnerabilit*", "threat model", "performance",
    "benchmark*", "complexity", "migrat*", "compare and contrast", "evaluate", "critique", "strategy",
    "in depth", "in-depth", "comprehensive*", "edge case*", "invariant*", "differential equation*",
    "integral", "probability", "statistical*", "regression", "diagnos*", "contract", "liability", "statute*",
    "clinical*", "pathophysiology", "pharmacokinetic*", "mechanism*", "quantum", "synthesi*", "hypothes*",
    "formal*", "consistency", "transaction*", "backpressure", "memory leak*", "beweise", "beweisen",
    "entwirf", "entwerfen", "analysiere", "optimiere*", "implementiere*", "vergleiche", "démontre*",
    "conçois", "concevoir", "analyse*", "implémente*", "demuestra*", "diseña*", "analiza*", "optimiza*",
    "implementa*", "dimostra*", "progetta*", "докажи*", "спроектируй*", "проанализируй*", "оптимизируй*",
    "реализуй*", "证明", "设计", "分析", "优化", "实现", "重构", "调试", "架构", "算法", "證明", "設計",
    "優化", "証明", "実装", "最適化", "증명", "설계", "분석", "최적화", "구현",
];

/// Keywords that speak for an easy request.
#[rustfmt::skip]
pub const SIMPLE: [&str; 80] = [
    "hi", "hello", "hey", "thanks", "thank you", "good morning", "good night", "how are you", "who are you",
    "ping", "test", "what is", "what's", "what are", "who is", "who was", "when is", "when was", "where is",
    "how many", "how old", "define", "definition of", "translate", "spell", "synonym*", "capital of",
    "convert", "rephrase", "fix the typo*", "fix typo*", "grammar", "tl;dr", "summarize", "summarise",
    "in one sentence", "in one word", "briefly", "short answer", "yes or no", "true or false", "list the",
    "rename", "title for", "give me a joke", "tell me a joke", "hallo", "danke", "guten morgen", "was ist",
    "wer ist", "übersetze", "bonjour", "merci", "qu'est-ce que", "c'est quoi", "traduis", "hola", "gracias",
    "qué es", "traduce", "ciao", "grazie", "olá", "obrigado", "привет", "спасибо", "что такое", "переведи",
    "你好", "谢谢", "什么是", "翻译", "謝謝", "こんにちは", "ありがとう", "翻訳", "안녕", "감사합니다",
    "번역",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::Lexicon;

    #[test]
    fn lists_are_valid_and_disjoint() {
        assert!(Lexicon::new([&COMPLEX[..], &SIMPLE]).is_ok());
        assert!(COMPLEX.iter().all(|keyword| !SIMPLE.contains(keyword)));
    }
}
