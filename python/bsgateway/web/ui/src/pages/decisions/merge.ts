import type { LogRow } from "../../api.d.ts";

/** The list as it is shown. `waiting` are newer rows that were not put in yet, newest first. */
export interface List {
  rows: LogRow[];
  waiting: LogRow[];
  /** Fetches what is older; null: that was all. */
  before: string | null;
}

export const EMPTY: List = { rows: [], waiting: [], before: null };

/**
 * Puts the newest page into the list. Rows that are shown get the outcome that has come since. New rows are put in, or
 * wait where `hold` is set, so that nobody loses his place. Where so many are new that the page does not reach
 * the rows that are shown, the list begins anew once they are put in: it has no holes.
 */
export function withNewest(list: List, page: LogRow[], before: string | null, hold: boolean): List {
  if (list.rows.length === 0) return { rows: page, waiting: [], before };
  const fresh = new Map(page.map((row) => [row.decision.decision_id, row]));
  const rows = list.rows.map((row) => fresh.get(row.decision.decision_id) ?? row);
  const shown = new Set(rows.map((row) => row.decision.decision_id));
  const added = page.filter((row) => !shown.has(row.decision.decision_id));
  if (added.length === 0) return { ...list, rows, waiting: [] };
  if (hold) return { ...list, rows, waiting: added };
  const reaches = added.length < page.length || before === null;
  return reaches
    ? { rows: [...added, ...rows], waiting: [], before: list.before }
    : { rows: page, waiting: [], before };
}

/** Puts an older page below the list. */
export function withOlder(list: List, page: LogRow[], before: string | null): List {
  const shown = new Set(list.rows.map((row) => row.decision.decision_id));
  return {
    ...list,
    rows: [...list.rows, ...page.filter((row) => !shown.has(row.decision.decision_id))],
    before,
  };
}
