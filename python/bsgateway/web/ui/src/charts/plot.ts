import * as Plot from "@observablehq/plot";

/**
 * `Plot.plot` with the looks of these pages. Plot writes a <style> element into each chart, which the page's policy
 * forbids; charts.css has its rules, and the element is taken away before the chart comes into the page.
 */
export function plot(options: Plot.PlotOptions): SVGElement {
  const chart = Plot.plot({ className: "chart", ...options });
  if (!(chart instanceof SVGElement))
    throw new Error("a chart with Plot's own title or legend is no SVG: use Figure");
  for (const style of chart.querySelectorAll("style")) style.remove();
  // A chart is one image with a name of its own; the names that Plot gives to groups within are for nobody.
  for (const group of chart.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
  return chart;
}

export { Plot };
