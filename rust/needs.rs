//! What a request asks of the model: needs and the limit on output tokens.

use crate::extract::Extract;
use crate::json::{Json, Key, Object};

/// A limit on output tokens above this one is taken for a mistake.
pub const MAX_OUTPUT_TOKENS: i64 = 1_000_000_000;

/// What a model must be able to do for this body, in a fixed order.
pub fn needs<V: Json, T>(body: &V, found: &Extract<T>) -> Vec<&'static str> {
    let body = body.as_object();
    let config = body.as_ref().and_then(|body| body.object(Key::GenerationConfig));
    let asks = |wanted: fn(&V::Object) -> bool| body.as_ref().is_some_and(wanted);
    let configures = |wanted: fn(&V::Object) -> bool| config.as_ref().is_some_and(wanted);
    let flags = [
        ("vision", found.images > 0),
        ("audio", found.audios > 0),
        ("file", found.files > 0),
        ("tools", found.tools > 0 && !asks(refuses_tools)),
        ("parallel_tools", found.tools > 0 && asks(|body| body.has_true(Key::ParallelToolCalls))),
        ("json_schema", asks(wants_json) || configures(config_wants_json)),
        ("reasoning", asks(wants_reasoning) || configures(config_wants_reasoning)),
        ("prompt_cache", found.cache_marks),
        (
            "web_search",
            asks(|body| body.has_object(Key::WebSearchOptions)) || (found.web_search && !asks(refuses_tools)),
        ),
        ("server_tools", found.server_tools && !asks(refuses_tools)),
    ];
    if !flags.iter().any(|(_, wanted)| *wanted) {
        return Vec::new(); // a plain question
    }
    flags.into_iter().filter_map(|(name, wanted)| wanted.then_some(name)).collect()
}

/// The limit on output tokens that the client set, if it is a sane number.
pub fn max_output_tokens<V: Json>(body: &V) -> Option<i64> {
    let body = body.as_object()?;
    let config = body.object(Key::GenerationConfig);
    [
        body.get(Key::MaxCompletionTokens),
        body.get(Key::MaxOutputTokens),
        body.get(Key::MaxTokens),
        config.and_then(|config| config.get(Key::MaxOutputTokensCamel)),
    ]
    .into_iter()
    .flatten()
    .filter_map(|value| value.as_i64())
    .find(|limit| (1..=MAX_OUTPUT_TOKENS).contains(limit))
}

fn refuses_tools<O: Object>(body: &O) -> bool {
    let choice = body.get(Key::ToolChoice);
    let choice = match choice.as_ref().and_then(Json::as_object) {
        Some(object) => object.get(Key::Type),
        None => choice,
    };
    is(choice.and_then(|choice| choice.as_text()), &["none"])
}

fn wants_json<O>(body: &O) -> bool
where
    O: Object<Value: Json<Object = O>>,
{
    let inner = |key| body.object(key).and_then(|outer| outer.object(Key::Format));
    let formats = [
        body.object(Key::ResponseFormat),
        inner(Key::Text),
        body.object(Key::OutputFormat),
        inner(Key::OutputConfig),
    ];
    let by_type = |format: O| is(format.text(Key::Type), &["json_schema", "json_object"]);
    formats.into_iter().flatten().any(by_type)
}

fn config_wants_json<O: Object>(config: &O) -> bool {
    is(config.text(Key::ResponseMimeType), &["application/json"])
        || config.has_object(Key::ResponseSchema)
        || config.has_object(Key::ResponseJsonSchema)
}

fn wants_reasoning<O>(body: &O) -> bool
where
    O: Object<Value: Json<Object = O>>,
{
    let thinking = body.object(Key::Thinking).and_then(|thinking| thinking.text(Key::Type));
    if is(thinking, &["enabled", "adaptive"]) {
        return true;
    }
    let given = |effort: &<O::Value as Json>::Text| !effort.as_ref().is_empty();
    let effort = body.text(Key::ReasoningEffort).filter(given);
    let effort = effort.or_else(|| body.object(Key::Reasoning)?.text(Key::Effort)).filter(given);
    effort.is_some_and(|effort| effort.as_ref() != "none")
}

fn config_wants_reasoning<O: Object>(config: &O) -> bool {
    config.has_object(Key::ThinkingConfig)
}

fn is<T: AsRef<str>>(text: Option<T>, names: &[&str]) -> bool {
    text.is_some_and(|text| names.contains(&text.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::extract::{Format, extract};

    fn needed(body: &Value) -> Vec<&'static str> {
        needs(&body, &extract(&body, Format::Chat))
    }

    #[test]
    fn needs_of_a_request() {
        assert!(needed(&json!([])).is_empty());
        let tools = json!([{"name": "f"}]);
        assert_eq!(
            needed(&json!({"tools": tools, "parallel_tool_calls": true})),
            ["tools", "parallel_tools"]
        );
        assert!(needed(&json!({"tools": tools, "tool_choice": "none"})).is_empty());
        assert!(needed(&json!({"tools": tools, "tool_choice": {"type": "none"}})).is_empty());
        let all = json!({
            "cache_control": {},
            "response_format": {"type": "json_object"},
            "reasoning_effort": "low",
            "messages": [{"content": [{"type": "image"}, {"type": "audio"}, {"type": "file"}]}],
        });
        assert_eq!(needed(&all), ["vision", "audio", "file", "json_schema", "reasoning", "prompt_cache"]);
        for json in [
            json!({"text": {"format": {"type": "json_schema"}}}),
            json!({"output_config": {"format": {"type": "json_schema"}}}),
            json!({"generationConfig": {"responseSchema": {}}}),
        ] {
            assert_eq!(needed(&json), ["json_schema"], "{json}");
        }
        for reasoning in [
            json!({"thinking": {"type": "adaptive"}}),
            json!({"reasoning_effort": "", "reasoning": {"effort": "high"}}),
            json!({"generationConfig": {"thinkingConfig": {}}}),
        ] {
            assert_eq!(needed(&reasoning), ["reasoning"], "{reasoning}");
        }
        assert!(needed(&json!({"reasoning_effort": "none", "reasoning": {"effort": "high"}})).is_empty());
        assert_eq!(needed(&json!({"web_search_options": {}})), ["web_search"]);
        assert!(needed(&json!({"web_search_options": true})).is_empty());
    }

    #[test]
    fn tools_of_the_provider() {
        use Format::{Chat, GenerateContent, Messages, Responses};
        let search = json!({"type": "web_search_20250305", "name": "web_search"});
        for (format, need) in [(Chat, "server_tools"), (Messages, "web_search"), (Responses, "web_search")] {
            let found = |body: Value| needs(&&body, &extract(&&body, format));
            assert_eq!(found(json!({"tools": [search]})), ["tools", need]);
            assert!(found(json!({"tools": [search], "tool_choice": "none"})).is_empty());
        }
        for (format, tool, of_provider) in [
            (Chat, json!({"type": "function", "function": {}}), false),
            (Chat, json!({"function": {}}), false),
            (Chat, json!({"type": "custom", "custom": {}}), true),
            (Chat, json!({"type": "web_search_20250305", "name": "web_search"}), true),
            (Chat, json!({"googleSearch": {}}), true),
            (Chat, json!({"name": "googleSearch"}), false),
            (Messages, json!({"name": "f", "input_schema": {}}), false),
            (Messages, json!({"type": "custom", "name": "f"}), false),
            (Messages, json!({"type": 5, "name": "f"}), false),
            (Messages, json!({"type": "bash_20250124", "name": "bash"}), true),
            (Messages, json!({"googleSearch": {}}), false),
            (Responses, json!({"type": "function", "name": "f"}), false),
            (Responses, json!({"type": "custom", "name": "apply_patch"}), false),
            (Responses, json!({"type": "namespace", "tools": []}), false),
            (Responses, json!({"type": "local_shell"}), true),
            (GenerateContent, json!({"functionDeclarations": [{}]}), false),
            (GenerateContent, json!({"functionDeclarations": [{}], "urlContext": {}}), true),
            (GenerateContent, json!({"google_search": {}}), true),
            (GenerateContent, json!({}), false),
        ] {
            let found = |body: Value| needs(&&body, &extract(&&body, format));
            let expected = if of_provider { &["tools", "server_tools"][..] } else { &["tools"] };
            assert_eq!(found(json!({"tools": [tool]})), expected, "{tool} in {format}");
            assert!(found(json!({"tools": [tool], "tool_choice": "none"})).is_empty());
        }
        let servers = json!({"mcp_servers": [{"type": "url"}]});
        assert_eq!(needs(&&servers, &extract(&&servers, Messages)), ["server_tools"]);
        assert!(needs(&&servers, &extract(&&servers, Chat)).is_empty());
    }

    #[test]
    fn limit_on_output_tokens() {
        for (body, limit) in [
            (json!({"max_tokens": 5, "max_completion_tokens": 7}), Some(7)),
            (json!({"max_completion_tokens": 0, "max_output_tokens": -1, "max_tokens": 5}), Some(5)),
            (json!({"max_tokens": true, "generationConfig": {"maxOutputTokens": 9}}), Some(9)),
            (json!({"max_tokens": 5.0}), None),
            (json!({"max_tokens": 1_000_000_001}), None),
            (json!({"max_tokens": u64::MAX}), None),
            (json!(3), None),
        ] {
            assert_eq!(max_output_tokens(&&body), limit, "{body}");
        }
    }
}
