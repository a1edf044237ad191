import type { Period } from "../api.d.ts";
import { stepEnd } from "./time.ts";

/** A value of one series in one step of time. */
export interface Cell {
  at: Date;
  end: Date;
  series: string;
  value: number;
}

interface At {
  at: string;
  name: string | null;
}

/** What requests without a value of what is grouped by are called. */
export function nameOf(name: string | null, none: string): string {
  return name ?? none;
}

/**
 * `points` as cells of a stacked chart, with at most `most` series: the largest ones, the others together as "other".
 * `order` puts its names first, in its order (tiers, the cheapest first); the rest follows by size.
 */
export function cellsOf<P extends At>(
  points: readonly P[],
  value: (point: P) => number,
  period: Period,
  options: { none: string; order?: readonly string[]; most?: number },
): { cells: Cell[]; series: string[] } {
  const totals = new Map<string, number>();
  for (const point of points) {
    const name = nameOf(point.name, options.none);
    totals.set(name, (totals.get(name) ?? 0) + value(point));
  }
  const order = options.order ?? [];
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  const names = [...totals.keys()].sort(
    (one, other) => rank(one) - rank(other) || (totals.get(other) ?? 0) - (totals.get(one) ?? 0),
  );
  const most = options.most ?? 8;
  const kept = names.length > most ? names.slice(0, most - 1) : names;
  const keptNames = new Set(kept);
  const cells = new Map<string, Cell>();
  for (const point of points) {
    const name = nameOf(point.name, options.none);
    const series = keptNames.has(name) ? name : OTHER;
    const id = `${point.at} ${series}`;
    const cell = cells.get(id);
    if (cell) cell.value += value(point);
    else {
      const at = new Date(point.at);
      cells.set(id, { at, end: stepEnd(at, period.step, period.timezone), series, value: value(point) });
    }
  }
  const series = names.length > kept.length ? [...kept, OTHER] : kept;
  return { cells: [...cells.values()].sort((one, other) => one.at.getTime() - other.at.getTime()), series };
}

export const OTHER = "other";

/** Where the steps of `points` begin, in order. */
export function momentsOf(points: readonly At[]): Date[] {
  return [...new Set(points.map(({ at }) => at))].sort().map((at) => new Date(at));
}

/** Without what is nothing: steps without requests come as zeros. */
export function nonEmpty(
  cells: readonly Cell[],
  series: readonly string[],
): { cells: Cell[]; series: string[] } {
  const kept = cells.filter((cell) => cell.value !== 0);
  const names = new Set(kept.map((cell) => cell.series));
  return { cells: kept, series: series.filter((name) => names.has(name)) };
}

/** `cells` as a table: a row for each step, a column for each series. */
export function cellTable(
  cells: readonly Cell[],
  series: readonly string[],
  heading: string,
  name: (at: Date) => string,
): { columns: string[]; rows: (string | number)[][] } {
  const steps = new Map<number, Map<string, number>>();
  for (const cell of cells) {
    const values = steps.get(cell.at.getTime()) ?? new Map<string, number>();
    values.set(cell.series, (values.get(cell.series) ?? 0) + cell.value);
    steps.set(cell.at.getTime(), values);
  }
  const rows = [...steps].map(([at, values]) => [
    name(new Date(at)),
    ...series.map((one) => values.get(one) ?? 0),
  ]);
  return { columns: [heading, ...series], rows };
}
