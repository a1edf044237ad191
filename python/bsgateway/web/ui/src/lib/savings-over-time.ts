import type { Savings, Sums } from "../api.d.ts";
import type { OverTime } from "../charts/over-time.ts";
import { NEUTRAL, seriesColor, type TierName, tierColor } from "./colors.ts";
import { axisMoney, compact, money } from "./format.ts";
import { cellsOf, momentsOf, nonEmpty, OTHER } from "./steps.ts";
import { type Step, stepEnd } from "./time.ts";

export const BY = ["tier", "model", "key", "team", "day"] as const;
export type By = (typeof BY)[number];

export const SHOWN = ["against", "saved", "spent", "requests", "tokens"] as const;
export type Shown = (typeof SHOWN)[number];

/** `value` if it is one of `known`; an address may hold anything. */
export function oneOf<T extends string>(known: readonly T[], value: string | null, otherwise: T): T {
  return known.find((one) => one === value) ?? otherwise;
}

/** What requests that the grouping knows no name for are called. */
export const NAMELESS: Record<By, string> = {
  tier: "not routed by score",
  model: "no model",
  key: "no key",
  team: "no team",
  day: "all",
};

const MEASURES: Record<
  Shown,
  { unit: string; value: (sums: Sums) => number; format: (value: number) => string }
> = {
  against: { unit: "US dollars", value: (sums) => sums.cost, format: money },
  saved: { unit: "US dollars saved", value: (sums) => sums.saved, format: money },
  spent: { unit: "US dollars spent", value: (sums) => sums.spent, format: money },
  requests: { unit: "requests", value: (sums) => sums.requests, format: compact },
  tokens: {
    unit: "tokens",
    value: (sums) => sums.prompt_tokens + sums.completion_tokens,
    format: compact,
  },
};

/** The chart of the page: by tier or model where the answer tells them apart in time, else all together. */
export function savingsOverTime(data: Savings, shown: Shown, tiers: readonly TierName[]): OverTime {
  const { period, by } = data;
  const measure = MEASURES[shown];
  const isSplit = by === "tier" || by === "model";
  const order = by === "tier" ? tiers.map((tier) => tier.name) : [];
  const { cells, series } = cellsOf(data.points, (point) => measure.value(point.sums), period, {
    none: isSplit ? NAMELESS[by] : "all requests",
    order,
  });
  const shownCells = nonEmpty(cells, series);
  return {
    ...shownCells,
    moments: momentsOf(data.points),
    colors: shownCells.series.map((name, index) => colorOf(name, index, by, tiers)),
    period,
    unit: measure.unit,
    format: measure.format,
    axis: measure.format === money ? axisMoney : undefined,
    line: shown === "against" ? baseline(data) : undefined,
  };
}

function colorOf(name: string, index: number, by: By, tiers: readonly TierName[]): string {
  if (by === "tier") return tierColor(tiers, name);
  if (name === OTHER || name === NAMELESS.model) return NEUTRAL;
  return seriesColor(index);
}

function baseline(data: Savings): NonNullable<OverTime["line"]> {
  const sums = new Map<string, number>();
  for (const point of data.points) sums.set(point.at, (sums.get(point.at) ?? 0) + point.sums.baseline_cost);
  const step: Step = data.period.step;
  const values = [...sums]
    .filter(([, value]) => value > 0)
    .map(([text, value]) => {
      const at = new Date(text);
      return { at, end: stepEnd(at, step, data.period.timezone), value };
    });
  return { name: "top tier alone", gap: "saved", values };
}
