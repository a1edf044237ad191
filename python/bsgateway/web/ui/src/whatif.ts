import type { WhatIf } from "./api.d.ts";

// The same sums as `applied` in web/what_if.py; both are tested with tests/data/what_if_cases.json.

/** What a tier has. `share` (0-1) is of the requests that borders move; `cost` in US dollars, null if not known. */
export interface AppliedTier {
  tier: string;
  requests: number;
  share: number;
  cost: number | null;
}

/** What all tiers have under a setting. `moved` requests are in another tier than under the setting in force. */
export interface Applied {
  tiers: AppliedTier[];
  cost: number | null;
  moved: number;
}

export const SCORES = 101;

/**
 * What becomes of the requests with these borders (first scores of all tiers but the lowest, ascending) and this bias of
 * the configuration. Throws RangeError for other borders.
 */
export function applied(whatIf: WhatIf, borders: readonly number[], bias: number): Applied {
  const isAscending = borders.every((border, at) => border > (borders[at - 1] ?? 0));
  if (borders.length !== whatIf.tiers.length - 1 || !isAscending) {
    throw new RangeError("borders must be ascending, one for each tier but the lowest");
  }
  const shift = bias - whatIf.bias;
  const requests = whatIf.tiers.map(() => 0);
  const costs = whatIf.tiers.map(() => 0);
  let moved = 0;
  whatIf.requests.forEach((count, at) => {
    const score = whatIf.lowest + at;
    const place = tierAt(borders, score + shift);
    requests[place] = (requests[place] ?? 0) + count;
    costs[place] = (costs[place] ?? 0) + (whatIf.costs[place]?.[at] ?? 0);
    if (place !== tierAt(whatIf.borders, score)) moved += count;
  });
  const total = requests.reduce((sum, each) => sum + each, 0);
  const tiers = whatIf.tiers.map((tier, place): AppliedTier => {
    const here = requests[place] ?? 0;
    const isKnown = whatIf.costs[place] !== null || here === 0;
    return {
      tier,
      requests: here,
      share: total ? here / total : 0,
      cost: isKnown ? (costs[place] ?? 0) : null,
    };
  });
  const cost = tiers.reduce<number | null>(
    (sum, tier) => (sum === null || tier.cost === null ? null : sum + tier.cost),
    0,
  );
  return { tiers, cost, moved };
}

/** Requests by the score that another bias would give them [101]. */
export function shifted(whatIf: WhatIf, bias: number): number[] {
  const counts = new Array<number>(SCORES).fill(0);
  whatIf.requests.forEach((count, at) => {
    const score = bounded(whatIf.lowest + at + bias - whatIf.bias);
    counts[score] = (counts[score] ?? 0) + count;
  });
  return counts;
}

/** The place of the tier of a score that is not yet bounded. */
export function tierAt(borders: readonly number[], score: number): number {
  return borders.filter((border) => bounded(score) >= border).length;
}

/** How far the border at `index` may go: every tier keeps at least one score. */
export function limits(borders: readonly number[], index: number): [least: number, most: number] {
  return [(borders[index - 1] ?? 0) + 1, (borders[index + 1] ?? SCORES) - 1];
}

/** `borders` with one of them moved, as far as it may go. */
export function withBorder(borders: readonly number[], index: number, to: number): number[] {
  const [least, most] = limits(borders, index);
  return borders.map((border, at) =>
    at === index ? Math.min(Math.max(Math.round(to), least), most) : border,
  );
}

function bounded(score: number): number {
  return Math.min(Math.max(score, 0), SCORES - 1);
}
