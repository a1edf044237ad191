// Draws the plots of a report that `bsgateway report --format html` made: one file, which asks nothing of any network.

import "./styles/report.css";
import type { Savings } from "./api.d.ts";
import { groupBars } from "./charts/groups.ts";
import { GAP, MARK, type OverTime, overTime } from "./charts/over-time.ts";
import { described } from "./lib/described.ts";
import { NAMELESS, savingsOverTime } from "./lib/savings-over-time.ts";

const place = document.getElementById("report");
if (!place?.textContent) throw new Error("the report holds no numbers");
const savings = JSON.parse(place.textContent) as Savings;

// Tiers in the order of the table: the report knows no configuration, and the groups say which there are.
const tiers = savings.groups.flatMap(({ name }) => (name === null ? [] : [{ name }]));
const costs = savingsOverTime(savings, "against", tiers);

const CHARTS: Record<
  string,
  { title: string; draw: (width: number) => SVGElement; legend?: () => HTMLElement }
> = {
  "over-time": {
    title: "What routed requests cost, and what the top tier alone would have cost, over time",
    draw: (width) => overTime(costs, width),
    legend: () => legendOf(costs),
  },
  "by-group": {
    title: `Spent and saved by ${savings.by}`,
    draw: (width) => groupBars(savings.groups, NAMELESS[savings.by], width),
  },
};

for (const figure of document.querySelectorAll<HTMLElement>("figure[data-chart]")) {
  const chart = CHARTS[figure.dataset.chart ?? ""];
  if (!chart) continue;
  const draw = () => {
    const svg = described(
      chart.draw(figure.clientWidth || 800),
      chart.title,
      "The table below has the same numbers.",
    );
    const caption = document.createElement("figcaption");
    caption.textContent = chart.title;
    figure.replaceChildren(caption, ...(chart.legend ? [chart.legend()] : []), svg);
  };
  draw();
  addEventListener("resize", draw);
  addEventListener("beforeprint", draw);
}

function legendOf(of: OverTime): HTMLElement {
  const list = document.createElement("ul");
  list.className = "legend";
  const items = of.series.map((name, index) => [name, of.colors[index] ?? "currentColor", "1"]);
  if (of.line) items.push([of.line.gap, GAP, "0.3"], [of.line.name, MARK, "1"]);
  for (const [name, color, opacity] of items) {
    const item = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = color ?? "";
    swatch.style.opacity = opacity ?? "";
    item.append(swatch, name ?? "");
    list.append(item);
  }
  return list;
}
