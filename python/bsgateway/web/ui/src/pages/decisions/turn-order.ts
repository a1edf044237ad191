import type { DecisionDetail, LogRow, TierView } from "../../api.d.ts";

/** The turns of a conversation, this one among them, oldest first: ids are in the order of time. */
export function inOrder(detail: DecisionDetail): LogRow[] {
  const own = detail.row.decision.decision_id;
  const others = detail.turns.filter(({ decision }) => decision.decision_id !== own);
  return [...others, detail.row].sort((one, other) =>
    one.decision.decision_id < other.decision.decision_id ? -1 : 1,
  );
}

/** Whether the conversation went up, down or stayed, from the turn before that had a tier. */
export function moveOf(
  turn: LogRow,
  before: LogRow | undefined,
  tiers: readonly TierView[],
): { sign: string; text: string } | null {
  if (!before?.decision.tier || !turn.decision.tier) return null;
  if (before.decision.tier === turn.decision.tier) return { sign: "=", text: "stayed" };
  const place = (row: LogRow) => tiers.findIndex(({ name }) => name === row.decision.tier);
  const [was, is] = [place(before), place(turn)];
  if (was < 0 || is < 0) return { sign: "→", text: "changed" }; // a tier that is no more
  return is > was ? { sign: "↑", text: "up" } : { sign: "↓", text: "down" };
}
