/** A tier, of the configuration or of a report. */
export interface TierName {
  name: string;
}

// Values of the tokens in tokens.css, so that charts follow the theme without being drawn anew.
const SERIES = [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `var(--series-${number})`);
export const NEUTRAL = "var(--series-none)";

/** The colour of the series at `index` (0 to 7; after these the neutral one). */
export function seriesColor(index: number): string {
  return SERIES[index] ?? NEUTRAL;
}

/** The number of a tier's colour class ("tier-1"), 0 for none and for tiers that are no more. */
export function tierIndex(tiers: readonly TierName[], name: string | null): number {
  const at = name === null ? -1 : tiers.findIndex((tier) => tier.name === name);
  return at < 0 || at >= SERIES.length ? 0 : at + 1;
}

export function tierColor(tiers: readonly TierName[], name: string | null): string {
  const index = tierIndex(tiers, name);
  return index === 0 ? NEUTRAL : seriesColor(index - 1);
}
