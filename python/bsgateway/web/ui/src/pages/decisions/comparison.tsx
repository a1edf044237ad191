import type { ComparisonView } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { ScoreBar } from "../../components/score-scale.tsx";
import { TierTag } from "../../components/tier-tag.tsx";
import { money } from "../../lib/format.ts";

/** What came of sending the request to two tiers. */
export function ComparisonCard(props: { comparison: ComparisonView }) {
  const { comparison } = props;
  const rows = [
    [comparison.weak_tier, comparison.weak_model, comparison.weak_score],
    [comparison.strong_tier, comparison.strong_model, comparison.strong_score],
  ] as const;
  return (
    <Card title="Dual run" note={said(comparison)}>
      <table>
        <caption class="visually-hidden">How good the two answers were</caption>
        <thead>
          <tr>
            <th scope="col">Tier</th>
            <th scope="col">Model</th>
            <th scope="col">Quality, of 100</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([tier, model, score]) => (
            <tr key={tier}>
              <th scope="row">
                <TierTag tier={tier} />
              </th>
              <td class="mono">{model}</td>
              <td>
                <ScoreBar score={Math.round(score * 100)} tier={0} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {comparison.cost !== null && (
        <p class="note">The second answer and its judge cost {money(comparison.cost)}.</p>
      )}
    </Card>
  );
}

function said({ weak_score: weak, strong_score: strong, judge }: ComparisonView): string {
  const verdict =
    weak === strong
      ? "both answers are equally good"
      : weak > strong
        ? "the cheaper answer is the better one"
        : "the dearer answer is the better one";
  return `A second tier answered as well. By ${judge}, ${verdict}.`;
}
