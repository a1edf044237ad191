import { useLayoutEffect, useRef } from "preact/hooks";
import type { TierView } from "../api.d.ts";
import { tierIndex } from "../lib/colors.ts";

/** Sets custom properties of an element; not as an attribute, which the policy of the page forbids. */
export function useProperties<E extends HTMLElement>(properties: Record<string, number>) {
  const place = useRef<E>(null);
  useLayoutEffect(() => {
    for (const [name, value] of Object.entries(properties))
      place.current?.style.setProperty(name, String(value));
  });
  return place;
}

/** A score as a number with a small bar. */
export function ScoreBar(props: { score: number | null; tier: number }) {
  const bar = useProperties<HTMLSpanElement>({ "--ratio": (props.score ?? 0) / 100 });
  if (props.score === null) return <span class="faint">–</span>;
  return (
    <span class="score-bar">
      <span class="score-track" aria-hidden="true">
        <span ref={bar} class={`score-fill series-${props.tier}`} />
      </span>
      <span class="score-number">{props.score}</span>
    </span>
  );
}

/** Where a score lies between 0 and 100, with the borders of the tiers. */
export function ScoreScale(props: { score: number; tiers: readonly TierView[] }) {
  const needle = useProperties<HTMLSpanElement>({ "--at": scalePlace(props.score) });
  const tier = props.tiers.find(({ first, last }) => first <= props.score && props.score <= last);
  const label = `Score ${props.score} of 100${tier ? `, in the range of ${tier.name}` : ""}`;
  return (
    <div class="scale" role="img" aria-label={`${label}. ${ranges(props.tiers)}`}>
      <span class="scale-needle-line" aria-hidden="true">
        <span ref={needle} class="scale-needle">
          <span>{props.score}</span>
        </span>
      </span>
      <span class="scale-bands" aria-hidden="true">
        {props.tiers.map((each) => (
          <Band key={each.name} tier={each} tiers={props.tiers} isHere={each === tier} />
        ))}
      </span>
    </div>
  );
}

function Band(props: { tier: TierView; tiers: readonly TierView[]; isHere: boolean }) {
  const { tier, tiers, isHere } = props;
  const band = useProperties<HTMLSpanElement>({ "--grow": tier.last - tier.first + 1 });
  return (
    <span ref={band} class={`scale-band series-${tierIndex(tiers, tier.name)}${isHere ? " here" : ""}`}>
      <span class="scale-name">{tier.name}</span>
      <span class="scale-range">
        {tier.first}–{tier.last}
      </span>
    </span>
  );
}

/** The middle of a score's place on the scale, which has 101 of them, 0-1. */
function scalePlace(score: number): number {
  return (score + 0.5) / 101;
}

function ranges(tiers: readonly TierView[]): string {
  return tiers.map(({ name, first, last }) => `${name} ${first} to ${last}`).join(", ");
}
