//! The tools that a request declares, and which of them only its own provider can offer.

use super::{Extract, Format};
use crate::json::{Json, Key, Object, weigh_with};

/// Tools that Google runs.
const GOOGLE_TOOLS: [Key; 14] = [
    Key::CodeExecutionCamel,
    Key::CodeExecution,
    Key::ComputerUseCamel,
    Key::ComputerUse,
    Key::EnterpriseWebSearchCamel,
    Key::EnterpriseWebSearch,
    Key::GoogleMapsCamel,
    Key::GoogleMaps,
    Key::GoogleSearchCamel,
    Key::GoogleSearch,
    Key::GoogleSearchRetrievalCamel,
    Key::GoogleSearchRetrieval,
    Key::UrlContextCamel,
    Key::UrlContext,
];

impl<T: AsRef<str>> Extract<T> {
    pub(super) fn read_tools<O>(&mut self, body: &O, format: Format)
    where
        O: Object<Value: Json<Object = O>>,
    {
        let mut stack = Vec::new();
        for key in [Key::Tools, Key::Functions] {
            let items = body.get(key).and_then(|tools| tools.as_list());
            for item in items.into_iter().flatten() {
                let Some(tool) = item.as_object() else { continue };
                self.tool(&tool, format);
                self.tool_bytes += weigh_with(item, &mut stack);
                self.cache_marks |= tool.has_object(Key::CacheControl);
            }
        }
        if format == Format::Messages {
            let servers = body.get(Key::McpServers).and_then(|servers| servers.as_list());
            self.server_tools |= servers.is_some_and(|servers| servers.len() > 0);
        }
    }

    fn tool<O: Object>(&mut self, tool: &O, format: Format) {
        if format == Format::GenerateContent {
            return self.google_tool(tool);
        }
        let named = tool.get(Key::Type);
        let name = named.as_ref().and_then(Json::as_word);
        let name = name.as_deref().unwrap_or_default();
        self.tools += 1;
        if name.starts_with("web_search") && matches!(format, Format::Messages | Format::Responses) {
            self.web_search = true;
            return;
        }
        self.server_tools |= match name {
            // LiteLLM takes a tool of Google's as an entry with its name and nothing else.
            "" if format == Format::Chat && tool.key_count() == 1 => {
                GOOGLE_TOOLS.into_iter().any(|key| tool.get(key).is_some())
            }
            "" => false,
            name => !is_client_tool(name, format),
        };
    }

    /// An entry of Google's: declarations of functions, each of which is a tool, or tools of its own.
    fn google_tool<O: Object>(&mut self, tool: &O) {
        let lists = [Key::FunctionDeclarationsCamel, Key::FunctionDeclarations].map(|key| tool.get(key));
        self.server_tools |= tool.key_count() > lists.iter().flatten().count();
        let declarations = lists.into_iter().flatten().next();
        self.tools += declarations.and_then(|list| list.as_list()).map_or(1, |list| list.len());
    }
}

/// Whether a tool of this type is one that the client defines, and that every model with tools can call.
///
/// LiteLLM makes functions of the custom tools and the namespaces of Responses, and turns the calls back, where a model
/// knows functions only. It does not so for the custom tools of chat completions.
fn is_client_tool(name: &str, format: Format) -> bool {
    match name {
        "function" => true,
        "custom" => matches!(format, Format::Messages | Format::Responses),
        "namespace" => format == Format::Responses,
        _ => false,
    }
}
