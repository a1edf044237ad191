//! The user's newest real ask: what is left of the user's texts without what an agent harness puts into them.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use crate::chars::trim;
use crate::extract::{Kind, Part, Role};

/// Blocks that an agent harness puts into user messages: not the user's ask. Tags whose content is the user's own
/// (`<command-args>`, `<context>`, `<attachments>`, `<task>`) are not here.
const HARNESS_TAGS: [&str; 26] = [
    "system-reminder",
    "system_reminder",
    "environment_context",
    "environment_details",
    "user_instructions",
    "INSTRUCTIONS",
    "permissions",
    "collaboration_mode",
    "skills_instructions",
    "ide_context",
    "ide_selection",
    "ide_opened_file",
    "ide_diagnostics",
    "open_files",
    "editorContext",
    "reminderInstructions",
    "reminder",
    "workspace_info",
    "local-command-stdout",
    "local-command-stderr",
    "local-command-caveat",
    "command-name",
    "command-message",
    "task-notification",
    "user-prompt-submit-hook",
    "turn_aborted",
];
const MAX_TAG: usize = 40;

/// The user's newest real ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask<'a> {
    /// Its texts, trimmed and joined by line ends; empty if there is none.
    pub text: Cow<'a, str>,
    /// Index of its message; None if there is none.
    pub message: Option<usize>,
    /// User messages with text outside harness blocks.
    pub turns: usize,
    /// Bytes of UTF-8 in harness blocks of all user messages.
    pub harness_bytes: usize,
}

/// The last user message with text outside harness blocks. `parts` stand in the order of their messages.
#[must_use]
pub fn newest_ask<T: AsRef<str>>(parts: &[Part<T>]) -> Ask<'_> {
    let mut ask = Ask::default();
    for part in parts.iter().filter(|part| part.role == Role::User && part.kind == Kind::Text) {
        let text = part.text.as_ref();
        let own = strip_harness(text);
        ask.harness_bytes += text.len() - own.len();
        let own = trimmed(own);
        if own.is_empty() {
            continue;
        }
        if ask.message == part.message {
            let joined = ask.text.to_mut();
            joined.push('\n');
            joined.push_str(&own);
        } else {
            ask.text = own;
            ask.message = part.message;
            ask.turns += 1;
        }
    }
    ask
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
    }
}

/// `text` without its harness blocks: `<tag ...>` to the next `</tag>`. An opening tag that is never closed is text.
///
/// Linear: once a tag is known to have no closing further on, it is not looked for again.
#[must_use]
pub fn strip_harness(text: &str) -> Cow<'_, str> {
    if memmem::find(text.as_bytes(), b"</").is_none() {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut unclosed: Vec<&str> = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(offset) = text.as_bytes().get(at..).and_then(|rest| memchr(b'<', rest)) {
        let open = at + offset;
        at = open + 1;
        let Some(tag) = tag_at(text, at).filter(|tag| !unclosed.contains(tag)) else { continue };
        match closing_end(text, open, tag) {
            Some(end) => {
                kept.push_str(text.get(start..open).unwrap_or_default());
                (start, at) = (end, end);
            }
            None => unclosed.push(tag),
        }
    }
    if start == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(text.get(start..).unwrap_or_default());
    Cow::Owned(kept)
}

/// Where the next `</tag>` after `from` ends.
fn closing_end(text: &str, from: usize, tag: &str) -> Option<usize> {
    let close = format!("</{tag}>");
    let offset = memmem::find(text.as_bytes().get(from..)?, close.as_bytes())?;
    Some(from + offset + close.len())
}

/// The harness tag whose name begins at `at` and is followed by `>` or white space.
fn tag_at(text: &str, at: usize) -> Option<&'static str> {
    let rest = text.as_bytes().get(at..)?;
    let in_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = rest.iter().take(MAX_TAG + 1).take_while(in_name).count();
    let (name, after) = rest.split_at_checked(length)?;
    let ends = matches!(after.first(), Some(b'\t' | b'\n' | b'\r' | b' ' | b'>'));
    HARNESS_TAGS.into_iter().find(|tag| ends && tag.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(message: usize, text: &str) -> Part<&str> {
        Part { role: Role::User, kind: Kind::Text, text, message: Some(message) }
    }

    #[test]
    fn strips_blocks() {
        for (text, own) in [
            ("a<system-reminder>x</system-reminder>b", "ab"),
            ("<reminder kind=\"x\">\n1</reminder> do it <reminder>2</reminder>", " do it "),
            ("<reminder>never closed", "<reminder>never closed"),
            ("<reminder>open <permissions>x</permissions> end", "<reminder>open  end"),
            ("<permissions>a<reminder>b</permissions>c</reminder>", "c</reminder>"),
            ("<task>mine</task>", "<task>mine</task>"),
            ("<remind>x</remind>", "<remind>x</remind>"),
            ("<reminder/>x</reminder>", "<reminder/>x</reminder>"),
            ("<<reminder>>x</reminder>", "<"),
            ("</reminder><reminder", "</reminder><reminder"),
            ("é<INSTRUCTIONS\t>ü</INSTRUCTIONS>ß", "éß"),
        ] {
            assert_eq!(strip_harness(text), own, "{text}");
        }
    }

    #[test]
    fn newest_real_ask_wins() {
        let parts = [
            user(0, " first "),
            user(2, "second"),
            user(2, "\n<reminder>r</reminder>\n"),
            user(2, "more\r\n"),
            user(4, "<reminder>only</reminder>"),
            Part { role: Role::Assistant, kind: Kind::Text, text: "answer", message: Some(5) },
            Part { role: Role::User, kind: Kind::Thinking, text: "no", message: Some(6) },
        ];
        let ask = newest_ask(&parts);
        assert_eq!(ask.text, "second\nmore");
        assert_eq!((ask.message, ask.turns), (Some(2), 2));
        assert_eq!(ask.harness_bytes, "<reminder>r</reminder><reminder>only</reminder>".len());
        assert_eq!(newest_ask::<&str>(&[]), Ask::default());
    }

    #[test]
    fn hostile_texts_end() {
        for unit in
            ["<", "</", "<reminder>", "<reminder></", "<reminder></reminder>", "</reminder><reminder>"]
        {
            let text = unit.repeat(1_000_000 / unit.len()) + "</";
            assert!(strip_harness(&text).len() <= text.len());
        }
        let all_tags: String = HARNESS_TAGS.iter().map(|tag| format!("<{tag}>")).collect();
        let text = all_tags.repeat(1_000_000 / all_tags.len()) + "</";
        assert_eq!(strip_harness(&text), text);
    }
}
