"""The words by which machines know what happened. Each is logged once when it happens, at a level of its own:

    log.info("reloaded by %s", by, extra=event("reloaded", by=by))

The sentence is for people, the word and its fields are for machines; `logs` writes both.
"""

from __future__ import annotations

from typing import Any

EVENTS: dict[str, str] = {
    "started": "A process serves: versions, strategy, tiers, the model that scores, and whether decisions are logged.",
    "ready": "The gateway answers requests: its address and how many workers it has. Once a `serve`.",
    "stopped": "A process has ended its work: what the memo of texts did meanwhile.",
    "reloaded": "A process took up a changed gateway.yaml: what changed, what waits for the next start.",
    "reload_refused": "A changed gateway.yaml has mistakes, and the old one stays in force.",
    "reload_failed": "A changed gateway.yaml could not be taken up, and the old one stays in force.",
    "model_promoted": "A learned model was put in force, by `train` or by hand: its id, and the one before.",
    "model_taken_up": "Another learned model scores from now on.",
    "model_refused": "A model file cannot be used, and the model in force stays.",
    "model_gone": "The model file is gone; the model in force stays until the next start.",
    "circuit_opened": "Something is left alone as it does not answer: `circuit` is `llm`, `log` (the database) or "
    "`embedder`.",
    "circuit_closed": "It answers again, after so many `seconds`.",
    "rows_dropped": "Rows of the log are lost: their cause, and how many so far. At most every ten seconds a cause.",
    "migration_applied": "The database was brought to another version of the schema.",
    "decided": "A request was decided. At level debug, and not of requests that opted out of the log.",
}
"""All events, with what they mean. Closed: a test holds it against the code."""

ATTRIBUTE = "bsgateway_event"
"""Of a `logging.LogRecord`: the word under `event`, and its fields."""


def event(word: str, /, **fields: Any) -> dict[str, Any]:
    """The `extra` of a log line that is the event `word`. Fields are numbers, short words, or lists of these."""
    return {ATTRIBUTE: {"event": word, **fields}}
