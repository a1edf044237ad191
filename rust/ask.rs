//! The user's newest real ask: what is left of the user's texts without what an agent harness puts into them.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use crate::chars::trim;
use crate::extract::{Kind, Part, Role};
use crate::memo::Known;

macro_rules! harness_tags {
    ($($tag:literal,)*) => {
        /// Blocks that an agent harness puts into user messages: not the user's ask. Tags whose content is the user's own
        /// (`<command-args>`, `<context>`, `<attachments>`, `<task>`) are not here.
        const HARNESS_TAGS: [Tag; [$($tag),*].len()] =
            [$(Tag { name: $tag, closing: concat!("</", $tag, ">") }),*];
    };
}

harness_tags! {
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
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tag {
    name: &'static str,
    closing: &'static str,
}

const MAX_TAG: usize = 40;

/// The user's newest real ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask<'a> {
    /// Its texts, trimmed and joined by line ends; empty if there is none.
    pub text: Cow<'a, str>,
    /// Index of its message; None if there is none.
    pub message: Option<usize>,
    /// Index of the part that is the ask, if one is, whole and unchanged.
    pub part: Option<usize>,
    /// User messages with text outside harness blocks.
    pub turns: usize,
    /// Bytes of UTF-8 in harness blocks of all user messages.
    pub harness_bytes: usize,
}

/// What a text of the user holds: the same wherever it stands, so it can be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// Bytes of UTF-8 in harness blocks.
    pub harness_bytes: usize,
    /// Whether nothing but white space is left without them.
    pub empty: bool,
}

/// The last user message with text outside harness blocks. `parts` stand in the order of their messages; `known` holds what
/// is remembered of each; what the user's texts hold is put there if it is not.
#[must_use]
pub fn newest_ask<'a, T: AsRef<str>>(parts: &'a [Part<T>], known: &mut [Known]) -> Ask<'a> {
    let mut ask = Ask::default();
    let mut pieces: Vec<(usize, Cow<'a, str>)> = Vec::new();
    for ((index, part), known) in parts.iter().enumerate().zip(known) {
        if part.role != Role::User || part.kind != Kind::Text {
            continue;
        }
        let text = part.text.as_ref();
        let stripped = if known.own.is_some() { None } else { Some(strip_harness(text)) };
        let own = *known.own.get_or_insert_with(|| own(text, stripped.as_deref().unwrap_or_default()));
        ask.harness_bytes += own.harness_bytes;
        if own.empty {
            continue;
        }
        if ask.message != part.message {
            ask.message = part.message;
            ask.turns += 1;
            pieces.clear();
        }
        // A remembered text is stripped again, if it turns out to be of the newest ask.
        pieces.push((index, stripped.unwrap_or_default()));
    }
    for (index, stripped) in &mut pieces {
        let text = parts.get(*index).map_or("", |part| part.text.as_ref());
        let whole = if stripped.is_empty() { strip_harness(text) } else { std::mem::take(stripped) };
        *stripped = trimmed(whole);
        if stripped.len() == text.len() {
            ask.part = Some(*index);
        }
    }
    if pieces.len() > 1 {
        ask.part = None;
    }
    ask.text = join(pieces);
    ask
}

fn own(text: &str, stripped: &str) -> Own {
    Own { harness_bytes: text.len() - stripped.len(), empty: trim(stripped).is_empty() }
}

fn join(pieces: Vec<(usize, Cow<'_, str>)>) -> Cow<'_, str> {
    let mut pieces = pieces.into_iter().map(|(_, text)| text);
    let mut joined = pieces.next().unwrap_or_default();
    for piece in pieces {
        let joined = joined.to_mut();
        joined.push('\n');
        joined.push_str(&piece);
    }
    joined
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
    let mut unclosed: Vec<Tag> = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(offset) = text.as_bytes().get(at..).and_then(|rest| memchr(b'<', rest)) {
        let open = at + offset;
        at = open + 1;
        let Some(tag) = tag_at(text, at).filter(|tag| !unclosed.contains(tag)) else { continue };
        match closing_end(text, open, tag.closing) {
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

/// Where the next `closing` after `from` ends.
fn closing_end(text: &str, from: usize, closing: &str) -> Option<usize> {
    let offset = memmem::find(text.as_bytes().get(from..)?, closing.as_bytes())?;
    Some(from + offset + closing.len())
}

/// The harness tag whose name begins at `at` and is followed by `>` or white space.
fn tag_at(text: &str, at: usize) -> Option<Tag> {
    let rest = text.as_bytes().get(at..)?;
    let in_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = rest.iter().take(MAX_TAG + 1).take_while(in_name).count();
    let (name, after) = rest.split_at_checked(length)?;
    let ends = matches!(after.first(), Some(b'\t' | b'\n' | b'\r' | b' ' | b'>'));
    HARNESS_TAGS.into_iter().find(|tag| ends && tag.name.as_bytes() == name)
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
        let mut known = vec![Known::default(); parts.len()];
        let ask = newest_ask(&parts, &mut known);
        assert_eq!(ask.text, "second\nmore");
        assert_eq!((ask.message, ask.part, ask.turns), (Some(2), None, 2));
        assert_eq!(ask.harness_bytes, "<reminder>r</reminder><reminder>only</reminder>".len());
        assert_eq!(known.iter().filter(|known| known.own.is_some()).count(), 5, "all texts of the user");
        assert_eq!(newest_ask(&parts, &mut known), ask, "remembered");
        assert_eq!(newest_ask::<&str>(&[], &mut []), Ask::default());
    }

    #[test]
    fn a_part_may_be_the_whole_ask() {
        let part = |texts: &[&'static str]| {
            let parts: Vec<_> = texts.iter().map(|text| user(1, text)).collect();
            newest_ask(&parts, &mut vec![Known::default(); parts.len()]).part
        };
        assert_eq!(part(&["<reminder>r</reminder>", "the ask", " "]), Some(1));
        assert_eq!(part(&["the ask "]), None);
        assert_eq!(part(&["the <reminder>r</reminder> ask"]), None);
        assert_eq!(part(&["two", "parts"]), None);
    }

    #[test]
    fn hostile_texts_end() {
        for unit in
            ["<", "</", "<reminder>", "<reminder></", "<reminder></reminder>", "</reminder><reminder>"]
        {
            let text = unit.repeat(1_000_000 / unit.len()) + "</";
            assert!(strip_harness(&text).len() <= text.len());
        }
        let all_tags: String = HARNESS_TAGS.iter().map(|tag| format!("<{}>", tag.name)).collect();
        let text = all_tags.repeat(1_000_000 / all_tags.len()) + "</";
        assert_eq!(strip_harness(&text), text);
    }
}
