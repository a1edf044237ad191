//! The request formats, by name.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The request formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenAI chat completions.
    Chat,
    /// Anthropic messages.
    Messages,
    /// OpenAI responses.
    Responses,
    /// OpenAI's old completions.
    Completions,
    /// Gemini's generateContent.
    GenerateContent,
}

impl Format {
    /// The names of all formats, in the order of the enum.
    pub const NAMES: [&'static str; 5] = ["chat", "messages", "responses", "completions", "generate_content"];

    /// The name that [`FromStr`] reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::Completions => "completions",
            Self::GenerateContent => "generate_content",
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "chat" => Ok(Self::Chat),
            "messages" => Ok(Self::Messages),
            "responses" => Ok(Self::Responses),
            "completions" => Ok(Self::Completions),
            "generate_content" => Ok(Self::GenerateContent),
            _ => Err(Error::Format(name.to_owned())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names() {
        for name in Format::NAMES {
            assert_eq!(name.parse::<Format>().unwrap().to_string(), name);
        }
        assert_eq!("gemini".parse::<Format>(), Err(Error::Format("gemini".to_owned())));
    }
}
