"""What agents put into the user's messages beside the user's own words."""

from __future__ import annotations

# Tags whose content is the user's own (<command-args>, <context>, <attachments>, <task>) are not here.
HARNESS_TAGS = frozenset(
    (
        "system-reminder", "system_reminder", "environment_context", "environment_details", "user_instructions",
        "INSTRUCTIONS", "permissions", "collaboration_mode", "skills_instructions", "ide_context", "ide_selection",
        "ide_opened_file", "ide_diagnostics", "open_files", "editorContext", "reminderInstructions", "reminder",
        "workspace_info", "local-command-stdout", "local-command-stderr", "local-command-caveat", "command-name",
        "command-message", "task-notification", "user-prompt-submit-hook", "turn_aborted",
    )
)  # fmt: skip
"""Blocks that an agent harness puts into user messages: not the user's ask. The same as in `rust/ask.rs`."""
