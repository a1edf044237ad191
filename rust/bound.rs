//! What in a conversation belongs to the model or the provider that wrote it, and another one could not go on with.

use memchr::memmem;

use crate::ask::Ask;
use crate::extract::{Extract, Format};
use crate::json::{Json, Key, Object};

/// Every state that [`bound`] knows, in its order:
/// a signed or encrypted thought; one in the loop of tool calls that is still open; a tool call whose result has just
/// come; state that the provider keeps or only it can read.
pub const BOUND_STATES: [&str; 4] = ["thinking", "open_thinking", "open_tool_call", "server_state"];

/// Between a call's id and Google's signature, which LiteLLM hides in it from clients that keep known fields only.
const THOUGHT_MARK: &[u8] = b"__thought__";
/// Bytes of an id that is too short to hold a signature: the common one is not searched.
const PLAIN_ID: usize = 64;

/// What the extractor notes on its way through the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bonds {
    /// Whether there is a signed or encrypted thought.
    pub thought: bool,
    /// The last message of the conversation with one.
    pub last_thought: Option<usize>,
    /// Whether there is state that the provider keeps or only it can read.
    pub server_state: bool,
}

impl Bonds {
    /// What the request itself refers to, outside its conversation.
    pub(crate) fn of_body<O: Object>(body: &O, format: Format) -> Self {
        let keys: &[Key] = match format {
            Format::Messages => &[Key::Container],
            Format::Responses => &[Key::PreviousResponseId, Key::Conversation, Key::Prompt],
            Format::GenerateContent => &[Key::CachedContentCamel, Key::CachedContent],
            Format::Chat | Format::Completions => &[],
        };
        let refers = |&key: &Key| body.has_object(key) || body.has_text(key);
        Self { server_state: keys.iter().any(refers), ..Self::default() }
    }

    /// Notes a signed or encrypted thought in `message`; messages come in their order.
    pub(crate) fn thought_in(&mut self, message: Option<usize>) {
        self.thought = true;
        self.last_thought = message.or(self.last_thought);
    }

    /// Notes whether `block`, an image or a file, refers to a file that the provider keeps.
    pub(crate) fn file<O: Object>(&mut self, block: &O) {
        let inside = |key| block.object(key).is_some_and(|source| source.has_text(Key::FileId));
        self.server_state |= block.has_text(Key::FileId) || inside(Key::Source) || inside(Key::File);
    }

    /// Notes whether a part holds code that Google's own tool has run, or what came of it.
    pub(crate) fn google_part<O: Object>(&mut self, part: &O) {
        const KEYS: [Key; 4] = [
            Key::ExecutableCodeCamel,
            Key::ExecutableCode,
            Key::CodeExecutionResultCamel,
            Key::CodeExecutionResult,
        ];
        self.server_state |= KEYS.into_iter().any(|key| part.has_object(key));
    }
}

/// Whether a block or an item of this type, which is no call of a tool nor a result, can only be read by the provider that
/// wrote it: what its own tools did, references to what it keeps, a history that it compacted.
pub(crate) fn is_provider_block(name: &str) -> bool {
    matches!(
        name,
        "container_upload"
            | "compaction"
            | "item_reference"
            | "file_search_call"
            | "code_interpreter_call"
            | "image_generation_call"
            | "mcp_list_tools"
            | "mcp_approval_request"
            | "mcp_approval_response"
    )
}

/// Whether a `thinking` block must go back unchanged to the model that wrote it; a `redacted_thinking` one always must.
pub(crate) fn is_signed<O: Object>(block: &O) -> bool {
    block.has_text(Key::Signature)
}

/// Whether Google's signature stands in a part.
pub(crate) fn is_signed_part<O: Object>(part: &O) -> bool {
    part.has_text(Key::ThoughtSignatureCamel) || part.has_text(Key::ThoughtSignature)
}

/// Whether LiteLLM has put a signature of Google's into a tool call: into its id, or beside it.
pub(crate) fn is_signed_call<O: Object>(call: &O) -> bool {
    let id = call.get(Key::Id);
    let id = id.as_ref().and_then(Json::as_word).unwrap_or_default();
    (id.len() > PLAIN_ID && memmem::find(id.as_bytes(), THOUGHT_MARK).is_some())
        || call
            .object(Key::ProviderSpecificFields)
            .is_some_and(|fields| fields.has_text(Key::ThoughtSignature))
}

/// Whether a chat message holds thoughts as LiteLLM hands them out: Anthropic's blocks, or Google's signatures.
pub(crate) fn is_signed_message<O>(message: &O) -> bool
where
    O: Object<Value: Json<Object = O>>,
{
    let mut blocks = message.objects(Key::ThinkingBlocks);
    let signed = |block: &O| match block.get(Key::Type).as_ref().and_then(Json::as_word).as_deref() {
        Some("thinking") => is_signed(block),
        kind => kind == Some("redacted_thinking"),
    };
    let fields = message.object(Key::ProviderSpecificFields);
    let signatures = fields.and_then(|fields| fields.get(Key::ThoughtSignatures)?.as_list());
    blocks.any(|(_, block)| signed(&block)) || signatures.is_some_and(|list| list.len() > 0)
}

/// What of `found` is bound, in the order of [`BOUND_STATES`].
#[must_use]
pub fn bound<T>(found: &Extract<T>, ask: &Ask<'_>) -> Vec<&'static str> {
    let newest = found.results.last().and_then(|(message, _)| *message);
    let open_call = newest.is_some() && newest >= ask.message;
    let flags = [
        found.bonds.thought,
        found.bonds.last_thought.is_some_and(|last| is_open(last, found, ask)),
        open_call,
        found.bonds.server_state,
    ];
    if flags == [false; BOUND_STATES.len()] {
        return Vec::new(); // most conversations
    }
    BOUND_STATES.into_iter().zip(flags).filter_map(|(name, is)| is.then_some(name)).collect()
}

/// Whether message `last` is of the loop of tool calls that goes on: it begins behind the ask, or right before an ask that
/// came in one message with results.
fn is_open<T>(last: usize, found: &Extract<T>, ask: &Ask<'_>) -> bool {
    let Some(asked) = ask.message else { return true };
    let answers = || found.results.iter().any(|(message, _)| *message == Some(asked));
    last > asked || (last + 1 >= asked && answers())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ask::newest_ask;
    use crate::extract::extract;
    use crate::memo::Known;

    fn bound_in(format: Format, body: &Value) -> Vec<&'static str> {
        let found = extract(&body, format);
        let ask = newest_ask(&found.parts, &mut vec![Known::default(); found.parts.len()]);
        bound(&found, &ask)
    }

    #[test]
    fn nothing_is_bound_in_a_plain_conversation() {
        let body = json!({"messages": [
            {"role": "user", "content": "Look at this.", "name": "x"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "function": {"arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "seen"},
            {"role": "assistant", "content": "Done.", "reasoning_content": "hm", "thinking_blocks": []},
            {"role": "user", "content": [{"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {}}]},
        ]});
        assert!(bound_in(Format::Chat, &body).is_empty());
        assert!(bound_in(Format::Messages, &json!([])).is_empty());
    }

    #[test]
    fn a_loop_of_tool_calls_is_open_until_the_next_ask() {
        let thought = json!({"type": "thinking", "thinking": "hm", "signature": "EqQB"});
        let call = json!({"role": "assistant", "content": [thought, {"type": "tool_use", "input": {}}]});
        let result = json!({"type": "tool_result", "content": "seen"});
        let ask = json!({"type": "text", "text": "Go on."});
        let reminder = json!({"type": "text", "text": "<system-reminder>x</system-reminder>"});
        let open = ["thinking", "open_thinking", "open_tool_call"];
        for (last, states) in [
            (vec![json!([result])], &open[..]),
            (vec![json!([result, reminder])], &open),
            (vec![json!([result, ask])], &open),
            (vec![json!([result]), json!([ask])], &["thinking"]),
            (vec![json!([ask])], &["thinking"]),
        ] {
            let mut messages = vec![json!({"role": "user", "content": "Look."}), call.clone()];
            messages.extend(last.into_iter().map(|content| json!({"role": "user", "content": content})));
            let body = json!({"messages": messages});
            assert_eq!(bound_in(Format::Messages, &body), states, "{body}");
        }
        assert_eq!(bound_in(Format::Messages, &json!({"messages": [call]})), ["thinking", "open_thinking"]);
        assert_eq!(bound_in(Format::Messages, &json!({"system": [thought, result]})), ["thinking"]);
    }

    #[test]
    fn thoughts_of_each_dialect() {
        let id = format!("call_{}__thought__{}", "0".repeat(28), "A".repeat(40));
        for (format, body) in [
            (
                Format::Messages,
                json!({"messages": [{"content": [{"type": "redacted_thinking", "data": "x"}]}]}),
            ),
            (
                Format::Chat,
                json!({"messages": [{"thinking_blocks": [1, {"type": "thinking", "signature": "x"}]}]}),
            ),
            (Format::Chat, json!({"messages": [{"thinking_blocks": [{"type": "redacted_thinking"}]}]})),
            (
                Format::Chat,
                json!({"messages": [{"provider_specific_fields": {"thought_signatures": ["x"]}}]}),
            ),
            (Format::Chat, json!({"messages": [{"tool_calls": [{"id": id}]}]})),
            (
                Format::Chat,
                json!({"messages": [{"tool_calls": [{"provider_specific_fields": {"thought_signature": "x"}}]}]}),
            ),
            (Format::Responses, json!({"input": [{"type": "reasoning", "encrypted_content": "x"}]})),
            (
                Format::GenerateContent,
                json!({"contents": [{"parts": [{"text": "x", "thoughtSignature": "x"}]}]}),
            ),
            (
                Format::GenerateContent,
                json!({"contents": [{"parts": [{"functionCall": {}, "thought_signature": "x"}]}]}),
            ),
        ] {
            assert!(bound_in(format, &body).contains(&"thinking"), "{body}");
        }
        for (format, body) in [
            (Format::Messages, json!({"messages": [{"content": [{"type": "thinking", "signature": ""}]}]})),
            (Format::Chat, json!({"messages": [{"tool_calls": [{"id": "call__thought__x"}]}]})),
            (Format::Chat, json!({"messages": [{"provider_specific_fields": {"thought_signatures": []}}]})),
            (Format::Responses, json!({"input": [{"type": "reasoning", "encrypted_content": null}]})),
            (Format::GenerateContent, json!({"contents": [{"parts": [{"text": "x", "thought": true}]}]})),
        ] {
            assert!(bound_in(format, &body).is_empty(), "{body}");
        }
    }

    #[test]
    fn state_of_the_provider() {
        let held = [
            (Format::Messages, json!({"container": "c_1"})),
            (Format::Messages, json!({"container": {"id": "c_1"}})),
            (Format::Responses, json!({"input": "x", "previous_response_id": "resp_1"})),
            (Format::Responses, json!({"input": "x", "conversation": {"id": "conv_1"}})),
            (Format::Responses, json!({"prompt": {"id": "pmpt_1"}})),
            (Format::Responses, json!({"input": [{"id": "msg_1"}]})),
            (Format::Responses, json!({"input": [{"type": "item_reference", "id": "msg_1"}]})),
            (Format::Responses, json!({"input": [{"type": "mcp_call", "arguments": "{}"}]})),
            (Format::GenerateContent, json!({"cachedContent": "cachedContents/1"})),
            (Format::GenerateContent, json!({"contents": [{"parts": [{"fileData": {}}]}]})),
            (Format::GenerateContent, json!({"contents": [{"parts": [{"executableCode": {}}]}]})),
        ];
        let blocks = [
            json!({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
            json!({"type": "input_image", "file_id": "file_1"}),
            json!({"type": "file", "file": {"file_id": "file_1"}}),
            json!({"type": "server_tool_use", "input": {}}),
            json!({"type": "web_search_tool_result", "content": []}),
            json!({"type": "compaction", "content": "x"}),
        ];
        let in_messages = |block| (Format::Messages, json!({"messages": [{"content": [block]}]}));
        for (format, body) in held.into_iter().chain(blocks.into_iter().map(in_messages)) {
            assert!(bound_in(format, &body).contains(&"server_state"), "{body}");
        }
        for (format, body) in [
            (Format::Messages, json!({"container": ""})),
            (
                Format::Responses,
                json!({"previous_response_id": null, "conversation": [], "input": [{"content": "x"}]}),
            ),
            (
                Format::Messages,
                json!({"messages": [{"content": [{"type": "document", "source": {"data": "x"}}]}]}),
            ),
            (Format::Messages, json!({"messages": [{"content": [{"type": "refusal"}]}]})),
            (Format::GenerateContent, json!({"contents": [{"parts": [{"inlineData": {}}]}]})),
        ] {
            assert!(bound_in(format, &body).is_empty(), "{body}");
        }
    }
}
