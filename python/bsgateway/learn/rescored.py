"""What became of rows of the log that another strategy or model had scored."""

from __future__ import annotations

from ..errors import LearningError
from ..log_scores import LogScorer, Scored


def check_scored(scorer: LogScorer) -> None:
    """Raises LearningError where most of the log cannot be scored as it is scored now: the rest would mislead."""
    counts = scorer.counts
    if counts.left_out > counts.kept + counts.anew:
        why = (
            "the words of their asks were not kept (collector.text), which a score by another model needs"
            if counts.no_words >= counts.no_features
            else "the log has no features of theirs, or of another version"
        )
        raise LearningError(
            f"{counts.left_out:,} of {counts.left_out + counts.kept + counts.anew:,} rows were scored by another "
            f"strategy or model, and cannot be scored anew: {why}; wait until the one in force has scored enough, or "
            "look at fewer --days"
        )


def about_scores(counts: Scored) -> list[str]:
    """What became of rows whose score another scorer made."""
    text = []
    if counts.anew:
        text.append(f"{counts.anew:,} rows of another strategy or model were scored anew")
    if counts.left_out:
        text.append(
            f"{counts.left_out:,} rows of another strategy or model are left out: {counts.no_features:,} without "
            f"features of this version, {counts.no_words:,} without the words of the ask"
        )
    if counts.outdated:
        text.append(
            f"{counts.outdated:,} rows have a verdict of another local LLM or on another question (other tiers, ranges "
            "or descriptions), which does not count"
        )
    return text
