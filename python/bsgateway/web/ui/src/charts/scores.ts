import type { TierView } from "../api.d.ts";
import { tierColor } from "../lib/colors.ts";
import { compact, count } from "../lib/format.ts";
import { Plot, plot } from "./plot.ts";

/** How many requests got each score of 0-100, with the borders of the tiers, whose names stand above. */
export function scoreHistogram(
  scores: readonly number[],
  tiers: readonly TierView[],
  width: number,
  height = 240,
): SVGElement {
  const rows = scores.map((requests, score) => ({ score, requests, tier: tierOf(score, tiers) }));
  const names = tiers.map((tier) => tier.name);
  const isNarrow = width < 520;
  return plot({
    width,
    height,
    marginLeft: 48,
    marginRight: 8,
    marginTop: 34,
    x: { label: "score", labelArrow: "none", domain: [-0.5, 100.5], ticks: isNarrow ? 5 : 10 },
    y: { label: null, grid: true, ticks: 4, tickFormat: compact, nice: true },
    color: { type: "ordinal", domain: names, range: names.map((name) => tierColor(tiers, name)) },
    marks: [
      Plot.rectY(
        rows.filter(({ requests }) => requests > 0),
        {
          x1: (row) => row.score - 0.5,
          x2: (row) => row.score + 0.5,
          y: "requests",
          fill: (row) => tierColor(tiers, row.tier),
          insetLeft: 0.5,
          insetRight: 0.5,
        },
      ),
      Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
      Plot.ruleX(
        tiers.slice(1).map((tier) => tier.first - 0.5),
        { stroke: "var(--ink)", strokeDasharray: "3 3", insetTop: -14 },
      ),
      Plot.text(tiers, {
        x: (tier: TierView) => (tier.first + tier.last) / 2,
        frameAnchor: "top",
        dy: -16,
        text: (tier: TierView) => (isNarrow ? tier.name : `${tier.name} ${tier.first}–${tier.last}`),
        fill: "var(--ink)",
        fontWeight: 600,
      }),
      Plot.tip(
        rows.filter(({ requests }) => requests > 0),
        Plot.pointerX({
          x: "score",
          y: "requests",
          ariaHidden: "true",
          lineHeight: 1.35,
          title: (row) => `score ${row.score}, ${row.tier ?? "no tier"}\n${count(row.requests)} requests`,
          fill: "var(--card)",
          stroke: "var(--line-strong)",
        }),
      ),
    ],
  });
}

/** The tier whose band holds `score`. */
export function tierOf(score: number, tiers: readonly TierView[]): string | null {
  return tiers.find((tier) => tier.first <= score && score <= tier.last)?.name ?? null;
}
