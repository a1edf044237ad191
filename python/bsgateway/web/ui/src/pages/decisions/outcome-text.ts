import type { LogRow } from "../../api.d.ts";

/** What came of a request, in a word and a sign; `note` says more. */
export interface OutcomeText {
  sign: string;
  text: string;
  tone: "good" | "bad" | "plain";
  note: string | null;
}

export function outcomeText({ decision, outcome }: LogRow): OutcomeText {
  if (outcome === null) return { sign: "…", text: "no answer yet", tone: "plain", note: null };
  if (outcome.status === "failure") {
    const note = [outcome.error_class, outcome.error_status].filter((part) => part !== null).join(", ");
    return { sign: "✕", text: "failed", tone: "bad", note: note || null };
  }
  return {
    sign: "✓",
    text: "answered",
    tone: "good",
    note: fellBack({ decision, outcome }) ? "fell back" : null,
  };
}

/** Whether another model group answered than the one that was chosen. */
export function fellBack({ decision, outcome }: LogRow): boolean {
  return (
    decision.applied &&
    outcome !== null &&
    outcome.status === "success" &&
    outcome.served_group !== null &&
    outcome.served_group !== decision.resolved_model
  );
}

/** What answered, or was to. */
export function servedBy({ decision, outcome }: LogRow): string {
  return outcome?.served_group ?? (decision.applied ? decision.resolved_model : decision.original_model);
}
