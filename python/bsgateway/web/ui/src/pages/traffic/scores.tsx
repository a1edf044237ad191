import { useCallback } from "preact/hooks";
import { scoreHistogram, tierOf } from "../../charts/scores.ts";
import { Card } from "../../components/card.tsx";
import { Figure } from "../../components/figure.tsx";
import { count, share } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";

/** The histogram of scores with the tiers' borders as they are now. */
export function Scores(props: { scores: readonly number[] }) {
  const { scores } = props;
  const { tiers } = useMe();
  const draw = useCallback((width: number) => scoreHistogram(scores, tiers, width), [scores, tiers]);
  const total = scores.reduce((sum, requests) => sum + requests, 0);
  const summary = tiers
    .map((tier) => {
      const inside = scores.slice(tier.first, tier.last + 1).reduce((sum, requests) => sum + requests, 0);
      return `${tier.name}, scores ${tier.first} to ${tier.last}: ${count(inside)} requests, ${share(inside, total)}`;
    })
    .join("; ");
  return (
    <Card
      title="Scores"
      note="Borders are those in force now; the requests were routed by the borders of their time."
    >
      {total === 0 ? (
        <p class="empty">No request was scored in this period.</p>
      ) : (
        <Figure
          title="Requests by score"
          summary={summary}
          draw={draw}
          table={() => ({
            columns: ["score", "tier", "requests"],
            rows: scores.map((requests, score) => [score, tierOf(score, tiers), requests]),
          })}
        />
      )}
    </Card>
  );
}
