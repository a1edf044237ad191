use serde_json::{Value, json};

use super::*;

fn read(format: Format, body: &Value) -> Extract<&str> {
    extract(&body, format)
}

fn parts<'a>(found: &Extract<&'a str>) -> Vec<(Role, Kind, &'a str, Option<usize>)> {
    found.parts.iter().map(|part| (part.role, part.kind, part.text, part.message)).collect()
}

#[test]
fn chat() {
    let body = json!({"messages": [
        {"role": "developer", "content": "rules"},
        {"content": [{"type": "text", "text": "look"}, {"type": "image_url"}, "here", {"type": "input_audio"}]},
        "no message",
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            {"function": {"arguments": "{}"}}, {"custom": {"input": "raw"}}, {"function": {"arguments": [1]}}, 7,
        ]},
        {"role": "tool", "content": "result"},
        {"role": "critic", "content": "no"},
    ]});
    let found = read(Format::Chat, &body);
    assert_eq!(
        parts(&found),
        [
            (Role::System, Kind::Text, "rules", Some(0)),
            (Role::User, Kind::Text, "look", Some(1)),
            (Role::User, Kind::Text, "here", Some(1)),
            (Role::Assistant, Kind::Thinking, "hm", Some(3)),
            (Role::Assistant, Kind::ToolCall, "{}", Some(3)),
            (Role::Assistant, Kind::ToolCall, "raw", Some(3)),
            (Role::Tool, Kind::ToolResult, "result", Some(4)),
            (Role::Other, Kind::Text, "no", Some(5)),
        ]
    );
    assert_eq!((found.messages, found.images, found.audios, found.call_bytes), (6, 1, 1, 7));
    assert_eq!(found.results, [(Some(4), false)]);
}

#[test]
fn messages() {
    let body = json!({
        "system": [{"type": "text", "text": "rules", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "is_error": true, "content": [{"type": "text", "text": "bad"}, {"type": "document"}]},
                {"type": "text", "text": ""},
            ]},
        ],
    });
    let found = read(Format::Messages, &body);
    assert_eq!(
        parts(&found),
        [
            (Role::System, Kind::Text, "rules", None),
            (Role::Assistant, Kind::Thinking, "hm", Some(0)),
            (Role::Tool, Kind::ToolResult, "bad", Some(1)),
        ]
    );
    assert_eq!((found.results.as_slice(), found.files), (&[(Some(1), true)][..], 1));
    assert_eq!((found.cache_marks, found.call_bytes), (true, 2));
}

#[test]
fn responses() {
    let body = json!({"instructions": "rules", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "ask"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "arguments": "{}"},
        {"type": "local_shell_call", "action": {"a": 1}},
        {"type": "function_call_output", "output": "done"},
        {"type": "input_image"},
    ]});
    let found = read(Format::Responses, &body);
    assert_eq!(
        parts(&found),
        [
            (Role::System, Kind::Text, "rules", None),
            (Role::User, Kind::Text, "ask", Some(0)),
            (Role::Assistant, Kind::Thinking, "hm", Some(1)),
            (Role::Assistant, Kind::ToolCall, "{}", Some(2)),
            (Role::Tool, Kind::ToolResult, "done", Some(4)),
        ]
    );
    assert_eq!((found.messages, found.images, found.call_bytes), (6, 1, 2 + 5 + 4));
    let text = json!({"input": "just text"});
    assert_eq!(parts(&read(Format::Responses, &text)), [(Role::User, Kind::Text, "just text", Some(0))]);
}

#[test]
fn completions() {
    for (prompt, texts, token_ids) in [
        (json!("one"), vec!["one"], 0),
        (json!(["one", "two", 3]), vec!["one", "two"], 1),
        (json!([1, 2, true, 2.0]), vec![], 2),
        (json!([[1, 2], [3], "x"]), vec!["x"], 3),
        (json!(null), vec![], 0),
    ] {
        let body = json!({"prompt": prompt});
        let found = read(Format::Completions, &body);
        assert_eq!(found.parts.iter().map(|part| part.text).collect::<Vec<_>>(), texts);
        assert_eq!((found.token_ids, found.messages), (token_ids, 1));
    }
}

#[test]
fn generate_content() {
    let body = json!({
        "systemInstruction": {"parts": [{"text": "rules"}]},
        "system_instruction": "more",
        "contents": [
            {"role": "user", "parts": [{"text": "ask"}, {"inlineData": {"mimeType": "image/png"}}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true}, {"functionCall": {"args": {}}}]},
            {"parts": [{"functionResponse": {"response": []}}, {"fileData": {"mimeType": "", "mime_type": "audio/wav"}}]},
            "bare",
        ],
        "tools": [{"functionDeclarations": [{}, {}]}, {"functionDeclarations": null, "function_declarations": [1, 2]}, 1],
    });
    let found = read(Format::GenerateContent, &body);
    assert_eq!(
        parts(&found),
        [
            (Role::System, Kind::Text, "rules", None),
            (Role::System, Kind::Text, "more", None),
            (Role::User, Kind::Text, "ask", Some(0)),
            (Role::Assistant, Kind::Thinking, "hm", Some(1)),
            (Role::User, Kind::Text, "bare", Some(3)),
        ]
    );
    assert_eq!((found.messages, found.images, found.audios, found.call_bytes), (4, 1, 1, 4));
    assert_eq!((found.results.as_slice(), found.tools), (&[(Some(2), false)][..], 3));
    assert_eq!(read(Format::GenerateContent, &json!({})).messages, 1);
    assert_eq!(read(Format::GenerateContent, &json!({"contents": []})).messages, 0);
}

#[test]
fn wrong_types_are_as_good_as_absent() {
    for wrong in [json!(null), json!(1), json!("x"), json!([1]), json!({"x": 1}), json!([[{}]]), json!(true)]
    {
        for format in Format::NAMES {
            let format = format.parse().unwrap();
            assert!(read(format, &wrong).results.is_empty());
            for key in Key::ALL {
                let body = json!({key.as_str(): wrong, "messages": [{key.as_str(): wrong}], "input": [{key.as_str(): wrong}]});
                assert!(!read(format, &body).cache_marks || *key == Key::CacheControl);
            }
        }
    }
}

#[test]
fn depth_is_bounded() {
    let mut block = json!({"type": "text", "text": "deep"});
    for depth in 0..20 {
        let body = json!({"messages": [{"role": "user", "content": [block]}]});
        assert_eq!(read(Format::Messages, &body).parts.len(), usize::from(depth <= MAX_DEPTH));
        block = json!({"type": "tool_result", "content": [block]});
    }
}
