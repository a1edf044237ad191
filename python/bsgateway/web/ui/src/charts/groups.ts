import type { Group } from "../api.d.ts";
import { axisMoney, money } from "../lib/format.ts";
import { Plot, plot } from "./plot.ts";

const MOST = 15;

/** Bars of what each group cost and of what it saved, the dearest first; at most 15. */
export function groupBars(groups: readonly Group[], none: string, width: number): SVGElement {
  const named = groups
    .slice(0, MOST)
    .map((group) => ({ name: group.label ?? group.name ?? none, sums: group.sums }));
  const rows = named.flatMap(({ name, sums }) => [
    { name, part: "spent", value: sums.spent },
    { name, part: "saved", value: sums.saved },
  ]);
  const longest = Math.max(...named.map(({ name }) => name.length), 4);
  return plot({
    width,
    height: 44 + named.length * 44,
    marginLeft: Math.min(24 + longest * 7, width / 3),
    marginRight: 70,
    x: { label: "US dollars", labelArrow: "none", grid: true, ticks: 5, tickFormat: axisMoney, nice: true },
    y: { label: null, domain: ["spent", "saved"], axis: null, padding: 0.15 },
    fy: { label: null, domain: named.map(({ name }) => name), axis: "left", padding: 0.2 },
    color: { type: "ordinal", domain: ["spent", "saved"], range: ["var(--series-1)", "var(--good)"] },
    marks: [
      Plot.barX(rows, { x: "value", y: "part", fy: "name", fill: "part" }),
      Plot.text(rows, {
        x: (row) => Math.max(row.value, 0),
        y: "part",
        fy: "name",
        text: (row) => `${money(row.value)} ${row.part}`,
        textAnchor: "start",
        dx: 4,
        fill: "currentColor",
      }),
      Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
    ],
  });
}
