/** Names a chart to screen readers, which then take it for one image. */
export function described(svg: SVGElement, title: string, summary: string): SVGElement {
  for (const [tag, text] of [
    ["desc", summary],
    ["title", title],
  ] as const) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    element.textContent = text;
    svg.prepend(element);
  }
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${title}. ${summary}`);
  return svg;
}
