import { tierIndex } from "../lib/colors.ts";
import { useMe } from "../lib/me.ts";

/** A tier's name with its colour beside it. */
export function TierTag(props: { tier: string | null }) {
  const { tiers } = useMe();
  return (
    <span class="tag">
      <span class={`swatch series-${tierIndex(tiers, props.tier)}`} aria-hidden="true" />
      {props.tier ?? "no tier"}
    </span>
  );
}
