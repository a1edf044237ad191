//! A JSON-like value seen through a trait, so that one extractor reads Python objects and `serde_json` alike.
//!
//! Every question is answered with "no" for a value of another type: a wrong type in a request is as good as absent.

use std::borrow::Cow;

macro_rules! keys {
    ($($name:ident = $text:literal,)*) => {
        /// A name that the extractor looks up. One enum, so that a binding can prepare its own form of each once.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Key { $($name),* }

        impl Key {
            /// Every key, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The key as it stands in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

keys! {
    Action = "action",
    Args = "args",
    Arguments = "arguments",
    CacheControl = "cache_control",
    CachedContent = "cached_content",
    CachedContentCamel = "cachedContent",
    CodeExecution = "code_execution",
    CodeExecutionCamel = "codeExecution",
    CodeExecutionResult = "code_execution_result",
    CodeExecutionResultCamel = "codeExecutionResult",
    ComputerUse = "computer_use",
    ComputerUseCamel = "computerUse",
    Container = "container",
    Content = "content",
    Contents = "contents",
    Conversation = "conversation",
    Custom = "custom",
    Effort = "effort",
    EncryptedContent = "encrypted_content",
    EnterpriseWebSearch = "enterprise_web_search",
    EnterpriseWebSearchCamel = "enterpriseWebSearch",
    ExecutableCode = "executable_code",
    ExecutableCodeCamel = "executableCode",
    File = "file",
    FileData = "file_data",
    FileDataCamel = "fileData",
    FileId = "file_id",
    Format = "format",
    Function = "function",
    FunctionCall = "function_call",
    FunctionCallCamel = "functionCall",
    FunctionDeclarations = "function_declarations",
    FunctionDeclarationsCamel = "functionDeclarations",
    FunctionResponse = "function_response",
    FunctionResponseCamel = "functionResponse",
    Functions = "functions",
    GenerationConfig = "generationConfig",
    GoogleMaps = "google_maps",
    GoogleMapsCamel = "googleMaps",
    GoogleSearch = "google_search",
    GoogleSearchCamel = "googleSearch",
    GoogleSearchRetrieval = "google_search_retrieval",
    GoogleSearchRetrievalCamel = "googleSearchRetrieval",
    Id = "id",
    InlineData = "inline_data",
    InlineDataCamel = "inlineData",
    Input = "input",
    Instructions = "instructions",
    IsError = "is_error",
    MaxCompletionTokens = "max_completion_tokens",
    MaxOutputTokens = "max_output_tokens",
    MaxOutputTokensCamel = "maxOutputTokens",
    MaxTokens = "max_tokens",
    McpServers = "mcp_servers",
    Messages = "messages",
    MimeType = "mime_type",
    MimeTypeCamel = "mimeType",
    Output = "output",
    OutputConfig = "output_config",
    OutputFormat = "output_format",
    ParallelToolCalls = "parallel_tool_calls",
    Parts = "parts",
    PreviousResponseId = "previous_response_id",
    Prompt = "prompt",
    ProviderSpecificFields = "provider_specific_fields",
    Reasoning = "reasoning",
    ReasoningContent = "reasoning_content",
    ReasoningEffort = "reasoning_effort",
    Response = "response",
    ResponseFormat = "response_format",
    ResponseJsonSchema = "responseJsonSchema",
    ResponseMimeType = "responseMimeType",
    ResponseSchema = "responseSchema",
    Role = "role",
    Signature = "signature",
    Source = "source",
    Summary = "summary",
    System = "system",
    SystemInstruction = "system_instruction",
    SystemInstructionCamel = "systemInstruction",
    Text = "text",
    Thinking = "thinking",
    ThinkingBlocks = "thinking_blocks",
    ThinkingConfig = "thinkingConfig",
    Thought = "thought",
    ThoughtSignature = "thought_signature",
    ThoughtSignatureCamel = "thoughtSignature",
    ThoughtSignatures = "thought_signatures",
    ToolCallId = "tool_call_id",
    ToolCalls = "tool_calls",
    ToolChoice = "tool_choice",
    Tools = "tools",
    Type = "type",
    UrlContext = "url_context",
    UrlContextCamel = "urlContext",
    WebSearchOptions = "web_search_options",
}

/// A value of a request body. Cheap to clone: it refers to the body.
pub trait Json: Clone {
    /// A text of the body, clean UTF-8: a lone surrogate is one U+FFFD.
    type Text: AsRef<str>;
    /// An object of the body.
    type Object: Object<Value = Self>;
    /// A list of the body.
    type List: Iterator<Item = Self> + ExactSizeIterator;

    /// What [`weigh`] needs of this value, which it is done with then.
    fn into_node(self) -> Node<Self::Object, Self::List>;
    /// The text, if this is a string.
    fn as_text(&self) -> Option<Self::Text>;
    /// The same for a word that is only looked at.
    fn as_word(&self) -> Option<Cow<'_, str>>;
    /// The object, if this is one.
    fn as_object(&self) -> Option<Self::Object>;
    /// The items, if this is a list.
    fn as_list(&self) -> Option<Self::List>;
    /// Whether this is a whole number of any size; a boolean is none.
    fn is_int(&self) -> bool;
    /// The whole number, if this is one that fits.
    fn as_i64(&self) -> Option<i64>;
    /// Whether this is the boolean `true`.
    fn is_true(&self) -> bool;
    /// Whether this is null.
    fn is_null(&self) -> bool;
    /// Whether this is an object.
    fn is_object(&self) -> bool {
        self.as_object().is_some()
    }
}

/// A value by its type: a text by its bytes of UTF-8, an object, a list, anything else.
#[allow(missing_docs)]
#[derive(Debug)]
pub enum Node<O, L> {
    Text(usize),
    Object(O),
    List(L),
    Other,
}

/// An object of a request body.
pub trait Object {
    /// What it holds.
    type Value: Json;

    /// How many keys it has.
    fn key_count(&self) -> usize;
    /// The value under `key`; None if there is none. A null is a value.
    fn get(&self, key: Key) -> Option<Self::Value>;
    /// Calls `visit` with each key, in bytes of UTF-8 (None for a key that is no string), and its value.
    fn each(&self, visit: impl FnMut(Option<usize>, Self::Value));

    /// The object under `key`.
    fn object(&self, key: Key) -> Option<<Self::Value as Json>::Object> {
        self.get(key)?.as_object()
    }
    /// The text under `key`.
    fn text(&self, key: Key) -> Option<<Self::Value as Json>::Text> {
        self.get(key)?.as_text()
    }
    /// The objects of the list under `key`, each with its place among all items.
    fn objects(&self, key: Key) -> impl Iterator<Item = (usize, <Self::Value as Json>::Object)> {
        let items = self.get(key).and_then(|value| value.as_list());
        let items = items.into_iter().flatten().enumerate();
        items.filter_map(|(index, item)| Some((index, item.as_object()?)))
    }
    /// Whether an object stands under `key`.
    fn has_object(&self, key: Key) -> bool {
        self.get(key).is_some_and(|value| value.is_object())
    }
    /// Whether a text that is not empty stands under `key`.
    fn has_text(&self, key: Key) -> bool {
        self.get(key).is_some_and(|value| value.as_word().is_some_and(|text| !text.is_empty()))
    }
    /// Whether `true` stands under `key`.
    fn has_true(&self, key: Key) -> bool {
        self.get(key).is_some_and(|value| value.is_true())
    }
}

/// Approximate bytes of `value` as compact JSON: texts and keys in UTF-8 plus 2 and 4, containers 2 plus 1 an item of a
/// list, anything else 4. Iterative, so that nesting cannot exhaust the stack.
pub fn weigh<V: Json>(value: V) -> usize {
    let mut containers: Stack<V> = Vec::new();
    let own = match value.into_node() {
        // Most tool calls are flat objects: no stack is made for them.
        Node::Object(object) => 2 + weigh_object::<V>(&object, &mut containers),
        node => weigh_node(node, &mut containers),
    };
    own + weigh_rest::<V>(&mut containers)
}

/// As [`weigh`], with a stack (empty before and after) that serves for many values.
pub fn weigh_with<V: Json>(value: V, containers: &mut Stack<V>) -> usize {
    weigh_node(value.into_node(), containers) + weigh_rest::<V>(containers)
}

/// Weight of what the containers hold.
fn weigh_rest<V: Json>(containers: &mut Stack<V>) -> usize {
    let mut total = 0;
    while let Some(container) = containers.pop() {
        match container {
            Container::Object(object) => total += weigh_object::<V>(&object, containers),
            Container::List(items) => {
                for item in items {
                    total += 1 + weigh_node(item.into_node(), containers);
                }
            }
        }
    }
    total
}

fn weigh_object<V: Json>(object: &V::Object, containers: &mut Stack<V>) -> usize {
    let mut total = 0;
    object.each(|key, value| {
        total += key.unwrap_or(0) + 4 + weigh_node(value.into_node(), containers);
    });
    total
}

/// The containers of a value that are still to be weighed.
pub type Stack<V> = Vec<Container<<V as Json>::Object, <V as Json>::List>>;

/// A value that holds others.
#[allow(missing_docs)]
#[derive(Debug)]
pub enum Container<O, L> {
    Object(O),
    List(L),
}

/// Weight of a node without what it holds; a container is put by for later.
fn weigh_node<O, L>(node: Node<O, L>, containers: &mut Vec<Container<O, L>>) -> usize {
    match node {
        Node::Text(bytes) => bytes + 2,
        Node::Object(object) => {
            containers.push(Container::Object(object));
            2
        }
        Node::List(items) => {
            containers.push(Container::List(items));
            2
        }
        Node::Other => 4,
    }
}

impl<'a> Json for &'a serde_json::Value {
    type Text = &'a str;
    type Object = &'a serde_json::Map<String, serde_json::Value>;
    type List = std::slice::Iter<'a, serde_json::Value>;

    fn into_node(self) -> Node<Self::Object, Self::List> {
        match self {
            serde_json::Value::String(text) => Node::Text(text.len()),
            serde_json::Value::Object(object) => Node::Object(object),
            serde_json::Value::Array(items) => Node::List(items.iter()),
            _ => Node::Other,
        }
    }
    fn as_text(&self) -> Option<Self::Text> {
        self.as_str()
    }
    fn as_word(&self) -> Option<Cow<'_, str>> {
        self.as_str().map(Cow::Borrowed)
    }
    fn as_object(&self) -> Option<Self::Object> {
        serde_json::Value::as_object(self)
    }
    fn as_list(&self) -> Option<Self::List> {
        self.as_array().map(|items| items.iter())
    }
    fn is_int(&self) -> bool {
        serde_json::Value::is_i64(self) || self.is_u64()
    }
    fn as_i64(&self) -> Option<i64> {
        serde_json::Value::as_i64(self)
    }
    fn is_true(&self) -> bool {
        self.as_bool() == Some(true)
    }
    fn is_null(&self) -> bool {
        serde_json::Value::is_null(self)
    }
}

impl<'a> Object for &'a serde_json::Map<String, serde_json::Value> {
    type Value = &'a serde_json::Value;

    fn key_count(&self) -> usize {
        serde_json::Map::len(self)
    }
    fn get(&self, key: Key) -> Option<Self::Value> {
        serde_json::Map::get(self, key.as_str())
    }
    fn each(&self, mut visit: impl FnMut(Option<usize>, Self::Value)) {
        for (key, value) in self.iter() {
            visit(Some(key.len()), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_in_order_and_distinct() {
        let mut names: Vec<_> = Key::ALL.iter().map(|key| key.as_str()).collect();
        assert!(Key::ALL.iter().enumerate().all(|(index, &key)| key as usize == index));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Key::ALL.len());
    }

    #[test]
    fn wrong_types_answer_no() {
        let body = json!({"text": 1, "type": true, "parts": [1, {"text": "x"}, null], "input": 1.0, "max_tokens": 7});
        let body = Json::as_object(&&body).unwrap();
        assert!(body.text(Key::Text).is_none());
        assert!(body.object(Key::Parts).is_none());
        assert!(Object::get(&body, Key::Role).is_none());
        assert_eq!(body.objects(Key::Parts).map(|(index, _)| index).collect::<Vec<_>>(), [1]);
        assert!(body.has_true(Key::Type) && !body.has_true(Key::Text));
        let is_int = |key| Json::is_int(&Object::get(&body, key).unwrap());
        assert!(is_int(Key::MaxTokens) && !is_int(Key::Type) && !is_int(Key::Input));
        assert_eq!(Json::as_i64(&Object::get(&body, Key::MaxTokens).unwrap()), Some(7));
    }

    #[test]
    fn weighs() {
        assert_eq!(weigh(&json!(null)), 4);
        assert_eq!(weigh(&json!("é")), 4);
        assert_eq!(weigh(&json!([])), 2);
        assert_eq!(weigh(&json!({"ab": [1, "x", {}]})), 2 + 6 + 5 + 4 + 3 + 2);
    }

    #[test]
    fn weighs_deep_nesting_without_recursion() {
        // Built and taken apart by hand: dropping such a value recurses.
        let mut deep = json!(0);
        for _ in 0..10_000 {
            deep = serde_json::Value::Array(vec![deep]);
        }
        assert_eq!(weigh(&deep), 10_000 * 3 + 4);
        while let serde_json::Value::Array(mut items) = deep {
            deep = items.pop().unwrap();
        }
    }
}
