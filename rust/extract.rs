//! Request body of any of five formats -> parts (role, kind, text) and tools.
//!
//! Reads what is there and ignores what it does not know: a wrong type anywhere is as good as absent, never an error. Work
//! is linear in the size of the body and recursion is bounded by [`MAX_DEPTH`].

mod format;
mod tools;

use crate::bound::{Bonds, is_provider_block, is_signed, is_signed_call, is_signed_message, is_signed_part};
use crate::json::{Json, Key, Object, weigh};

pub use format::Format;

/// Nesting of content blocks (a tool result holding blocks, and so on); what lies deeper is ignored.
pub const MAX_DEPTH: usize = 8;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
    Other,
}

impl Role {
    fn of<O: Object>(message: &O) -> Self {
        Self::named(message.get(Key::Role).as_ref())
    }

    fn named<V: Json>(name: Option<&V>) -> Self {
        let Some(role) = name else { return Self::User };
        match role.as_word().as_deref() {
            Some("system" | "developer") => Self::System,
            Some("user") => Self::User,
            Some("assistant" | "model") => Self::Assistant,
            Some("tool" | "function") => Self::Tool,
            _ => Self::Other,
        }
    }
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Text,
    Thinking,
    ToolCall,
    ToolResult,
}

/// One text, never empty.
#[derive(Debug, Clone)]
pub struct Part<T> {
    /// Who speaks.
    pub role: Role,
    /// What for.
    pub kind: Kind,
    /// The text, or a reference to it.
    pub text: T,
    /// Index of the message it stands in; None outside the conversation. A system prompt may be either.
    pub message: Option<usize>,
}

/// All that scoring needs of a body. Sizes in bytes of UTF-8.
#[derive(Debug)]
pub struct Extract<T> {
    /// Texts in the order of the body.
    pub parts: Vec<Part<T>>,
    /// Messages, wrong ones included.
    pub messages: usize,
    /// Message (as in [`Part`]) and error flag of each tool result.
    pub results: Vec<(Option<usize>, bool)>,
    /// Tools declared.
    pub tools: usize,
    /// Their weight, see [`weigh`].
    pub tool_bytes: usize,
    /// Weight of tool calls that are no text.
    pub call_bytes: usize,
    /// Tokens of a prompt given as token ids.
    pub token_ids: usize,
    /// Images and videos.
    pub images: usize,
    /// Audio pieces.
    pub audios: usize,
    /// Documents.
    pub files: usize,
    /// Whether the client marks what to cache.
    pub cache_marks: bool,
    /// Whether a tool is a search of the web, which LiteLLM can have other providers do as well.
    pub web_search: bool,
    /// Whether a tool is one that only the provider offers.
    pub server_tools: bool,
    /// What belongs to the model or provider that wrote it.
    pub bonds: Bonds,
}

/// Reads `body`, a request of `format`. What is no object has nothing in it.
pub fn extract<V: Json>(body: &V, format: Format) -> Extract<V::Text> {
    let mut found = Extract::new();
    if let Some(body) = body.as_object() {
        found.cache_marks = body.has_object(Key::CacheControl);
        found.bonds = Bonds::of_body(&body, format);
        match format {
            Format::Chat | Format::Messages => found.read_chat(&body),
            Format::Responses => found.read_responses(&body),
            Format::Completions => found.read_completions(&body),
            Format::GenerateContent => found.read_generate_content(&body),
        }
        found.read_tools(&body, format);
    }
    found
}

/// Room for the parts of most requests from the start: a list that grows is copied each time.
const COMMON_PARTS: usize = 64;

/// Where a text stands: what its part will say of it.
#[derive(Clone, Copy)]
struct Place {
    role: Role,
    kind: Kind,
    message: Option<usize>,
}

impl Place {
    const SYSTEM: Self = Self { role: Role::System, kind: Kind::Text, message: None };

    fn new(role: Role, kind: Kind, message: usize) -> Self {
        Self { role, kind, message: Some(message) }
    }
}

impl<T: AsRef<str>> Extract<T> {
    fn new() -> Self {
        Self {
            parts: Vec::with_capacity(COMMON_PARTS),
            messages: 0,
            results: Vec::new(),
            tools: 0,
            tool_bytes: 0,
            call_bytes: 0,
            token_ids: 0,
            images: 0,
            audios: 0,
            files: 0,
            cache_marks: false,
            web_search: false,
            server_tools: false,
            bonds: Bonds::default(),
        }
    }

    fn text(&mut self, place: Place, text: Option<T>) {
        if let Some(text) = text.filter(|text| !text.as_ref().is_empty()) {
            self.parts.push(Part { role: place.role, kind: place.kind, text, message: place.message });
        }
    }

    /// A string, a block, or a list of either.
    fn content<V: Json<Text = T>>(&mut self, place: Place, value: Option<V>, depth: usize) {
        let Some(value) = value else { return };
        if let Some(items) = value.as_list() {
            for item in items {
                self.item(place, &item, depth);
            }
        } else {
            self.item(place, &value, depth);
        }
    }

    fn item<V: Json<Text = T>>(&mut self, place: Place, item: &V, depth: usize) {
        if let Some(block) = item.as_object() {
            self.block(place, &block, depth);
        } else {
            self.text(place, item.as_text());
        }
    }

    /// One content block of any provider's dialect.
    fn block<O>(&mut self, place: Place, block: &O, depth: usize)
    where
        O: Object<Value: Json<Text = T>>,
    {
        if depth > MAX_DEPTH {
            return;
        }
        let named = block.get(Key::Type);
        let name = named.as_ref().and_then(Json::as_word);
        let name = name.as_deref().unwrap_or_default();
        if matches!(name, "text" | "input_text" | "output_text" | "summary_text") {
            return self.text_block(place, block, true);
        }
        self.cache_marks |= block.has_object(Key::CacheControl);
        match name {
            "thinking" => {
                if is_signed(block) {
                    self.bonds.thought_in(place.message);
                }
                self.text(Place { kind: Kind::Thinking, ..place }, block.text(Key::Thinking));
            }
            "redacted_thinking" => self.bonds.thought_in(place.message),
            "image" | "image_url" | "input_image" => {
                self.images += 1;
                self.bonds.file(block);
            }
            "audio" | "input_audio" => self.audios += 1,
            "file" | "input_file" | "document" => {
                self.files += 1;
                self.bonds.file(block);
            }
            "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                self.bonds.server_state |= name != "tool_use";
                self.weigh_call(block.get(Key::Input));
            }
            "" if block.get(Key::Text).is_some_and(|text| text.as_text().is_some()) => {
                self.text_block(place, block, false);
            }
            "" => self.gemini_part(place.message, block),
            other if other.ends_with("tool_result") => {
                self.bonds.server_state |= other != "tool_result";
                self.results.push((place.message, block.has_true(Key::IsError)));
                let inner = Place { role: Role::Tool, kind: Kind::ToolResult, ..place };
                self.content(inner, block.get(Key::Content), depth + 1);
            }
            other => self.bonds.server_state |= is_provider_block(other),
        }
    }

    fn text_block<O>(&mut self, place: Place, block: &O, typed: bool)
    where
        O: Object<Value: Json<Text = T>>,
    {
        let text = block.get(Key::Text);
        if text.is_some() && block.key_count() == 1 + usize::from(typed) {
            return self.text(place, text.and_then(|text| text.as_text())); // the common block: text alone, or with its type
        }
        self.cache_marks |= block.has_object(Key::CacheControl);
        if !typed && is_signed_part(block) {
            self.bonds.thought_in(place.message);
        }
        let kind = if block.has_true(Key::Thought) { Kind::Thinking } else { place.kind };
        self.text(Place { kind, ..place }, text.and_then(|text| text.as_text()));
    }

    fn gemini_part<O>(&mut self, message: Option<usize>, block: &O)
    where
        O: Object<Value: Json<Text = T>>,
    {
        let mut read = 0;
        for key in [Key::InlineDataCamel, Key::InlineData, Key::FileDataCamel, Key::FileData] {
            let Some(data) = block.object(key) else { continue };
            read += 1;
            self.bonds.server_state |= matches!(key, Key::FileDataCamel | Key::FileData);
            let mime = data.text(Key::MimeTypeCamel).filter(|mime| !mime.as_ref().is_empty());
            let mime = mime.or_else(|| data.text(Key::MimeType));
            match mime.as_ref().map_or("", AsRef::as_ref).split_once('/') {
                Some(("image" | "video", _)) => self.images += 1,
                Some(("audio", _)) => self.audios += 1,
                _ => self.files += 1,
            }
        }
        for key in [Key::FunctionCallCamel, Key::FunctionCall] {
            if let Some(call) = block.object(key) {
                read += 1;
                self.weigh_call(call.get(Key::Args));
            }
        }
        for key in [Key::FunctionResponseCamel, Key::FunctionResponse] {
            if let Some(response) = block.object(key) {
                self.results.push((message, false));
                read += 1;
                self.weigh_call(response.get(Key::Response));
            }
        }
        if block.key_count() > read {
            if is_signed_part(block) {
                self.bonds.thought_in(message);
            }
            self.bonds.google_part(block);
        }
    }

    /// Arguments of a tool call: JSON text, or the value itself.
    fn call<V: Json<Text = T>>(&mut self, arguments: Option<V>, message: usize) {
        let Some(arguments) = arguments.filter(|value| !value.is_null()) else { return };
        match arguments.as_text() {
            Some(text) => self.text(Place::new(Role::Assistant, Kind::ToolCall, message), Some(text)),
            None => self.call_bytes += weigh(arguments),
        }
    }

    fn weigh_call<V: Json>(&mut self, value: Option<V>) {
        self.call_bytes += value.map_or(NULL_BYTES, weigh);
    }

    /// OpenAI chat completions, and Anthropic messages, whose `system` stands outside the conversation.
    fn read_chat<O>(&mut self, body: &O)
    where
        O: Object<Value: Json<Text = T, Object = O>>,
    {
        self.content(Place::SYSTEM, body.get(Key::System), 0);
        for (index, message) in body.objects(Key::Messages) {
            self.messages = index + 1;
            let named = message.get(Key::Role);
            let role = Role::named(named.as_ref());
            let kind = if role == Role::Tool { Kind::ToolResult } else { Kind::Text };
            if role == Role::Tool {
                self.results.push((Some(index), false));
            }
            let content = message.get(Key::Content);
            let known = usize::from(named.is_some()) + usize::from(content.is_some());
            let mut others = message.key_count().saturating_sub(known);
            self.content(Place::new(role, kind, index), content, 0);
            // Most messages have been read by now, or have one more key: what is not in them is not looked for.
            if others == 0 || (others == 1 && role == Role::Tool && message.get(Key::ToolCallId).is_some()) {
                continue;
            }
            let calls = message.get(Key::ToolCalls);
            others = others.saturating_sub(usize::from(calls.is_some()));
            if others > 0 {
                self.text(Place::new(role, Kind::Thinking, index), message.text(Key::ReasoningContent));
                if is_signed_message(&message) {
                    self.bonds.thought_in(Some(index));
                }
            }
            for call in calls.and_then(|calls| calls.as_list()).into_iter().flatten() {
                if let Some(call) = call.as_object() {
                    self.chat_call(&call, index);
                }
            }
            if others > 0
                && let Some(function) = message.object(Key::FunctionCall)
            {
                self.call(function.get(Key::Arguments), index);
            }
        }
    }

    fn chat_call<O>(&mut self, call: &O, message: usize)
    where
        O: Object<Value: Json<Text = T>>,
    {
        for (key, inner) in [(Key::Function, Key::Arguments), (Key::Custom, Key::Input)] {
            if let Some(function) = call.object(key) {
                self.call(function.get(inner), message);
                break;
            }
        }
        if is_signed_call(call) {
            self.bonds.thought_in(Some(message));
        }
    }

    fn read_responses<O>(&mut self, body: &O)
    where
        O: Object<Value: Json<Text = T, Object = O>>,
    {
        self.content(Place::SYSTEM, body.get(Key::Instructions), 0);
        if let Some(text) = body.text(Key::Input) {
            self.messages = 1;
            self.text(Place::new(Role::User, Kind::Text, 0), Some(text));
            return;
        }
        for (index, item) in body.objects(Key::Input) {
            self.messages = index + 1;
            let name = item.text(Key::Type);
            match name.as_ref().map_or("", AsRef::as_ref) {
                "" | "message" => {
                    let content = item.get(Key::Content);
                    self.bonds.server_state |= content.is_none() && item.has_text(Key::Id); // a reference
                    self.content(Place::new(Role::of(&item), Kind::Text, index), content, 0);
                }
                name @ ("function_call" | "custom_tool_call" | "mcp_call" | "local_shell_call") => {
                    self.bonds.server_state |= name == "mcp_call";
                    for key in [Key::Arguments, Key::Input, Key::Action] {
                        self.call(item.get(key), index);
                    }
                }
                "reasoning" => {
                    if item.has_text(Key::EncryptedContent) {
                        self.bonds.thought_in(Some(index));
                    }
                    let place = Place::new(Role::Assistant, Kind::Thinking, index);
                    self.content(place, item.get(Key::Summary), 0);
                }
                name if name.ends_with("_output") => {
                    self.results.push((Some(index), false));
                    let place = Place::new(Role::Tool, Kind::ToolResult, index);
                    self.content(place, item.get(Key::Output), 0);
                }
                _ => self.block(Place::new(Role::User, Kind::Text, index), &item, 0),
            }
        }
    }

    /// A prompt is a string, a list of strings, token ids, or a list of lists of token ids.
    fn read_completions<O>(&mut self, body: &O)
    where
        O: Object<Value: Json<Text = T>>,
    {
        self.messages = 1;
        let Some(prompt) = body.get(Key::Prompt) else { return };
        let items = prompt.as_list();
        self.content(Place::new(Role::User, Kind::Text, 0), Some(prompt), 0);
        for item in items.into_iter().flatten() {
            let ids = item.as_list().map_or(0, |ids| ids.filter(Json::is_int).count());
            self.token_ids += ids + usize::from(item.is_int());
        }
    }

    fn read_generate_content<O>(&mut self, body: &O)
    where
        O: Object<Value: Json<Text = T, Object = O>>,
    {
        for key in [Key::SystemInstructionCamel, Key::SystemInstruction] {
            let system = body.get(key);
            let parts = match system.as_ref().and_then(Json::as_object) {
                Some(object) => object.get(Key::Parts),
                None => system,
            };
            self.content(Place::SYSTEM, parts, 0);
        }
        let Some(contents) = body.get(Key::Contents) else {
            self.messages = 1;
            return;
        };
        match contents.as_list() {
            Some(items) => items.enumerate().for_each(|(index, item)| self.gemini_content(index, &item)),
            None => self.gemini_content(0, &contents),
        }
    }

    fn gemini_content<V: Json<Text = T>>(&mut self, index: usize, item: &V) {
        self.messages = index + 1;
        match item.as_object() {
            Some(object) => {
                self.content(Place::new(Role::of(&object), Kind::Text, index), object.get(Key::Parts), 0);
            }
            None => self.text(Place::new(Role::User, Kind::Text, index), item.as_text()),
        }
    }
}

/// What [`weigh`] says of a null, and so of an absent value.
const NULL_BYTES: usize = 4;

#[cfg(test)]
mod tests;
