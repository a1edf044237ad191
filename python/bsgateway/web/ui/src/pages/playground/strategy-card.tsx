import type { Explained as ExplainedView } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { Chips, Facts } from "../../components/facts.tsx";
import { ScoreScale } from "../../components/score-scale.tsx";
import { ScoreSteps } from "../../components/score-steps.tsx";
import { Notice } from "../../components/status.tsx";
import { TierTag } from "../../components/tier-tag.tsx";
import { count, microseconds, money, percent } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";

const NAMES: Record<string, string> = {
  static: "static: weighted signals",
  ml: "ml: a learned model",
  llm: "llm: a word from a local model",
};

/** What one strategy makes of the request. */
export function StrategyCard(props: { explained: ExplainedView }) {
  const { strategy, in_force, decision, reason_doc, advice, error } = props.explained;
  const { tiers } = useMe();
  return (
    <Card
      title={NAMES[strategy] ?? strategy}
      actions={in_force ? <span class="badge strong">in force</span> : undefined}
    >
      {error !== null && <Notice tone="warn">{error}</Notice>}
      {advice && <Notice tone="warn">{advice}</Notice>}
      {decision !== null && (
        <div class="stack">
          {decision.complexity_score !== null && (
            <ScoreScale score={decision.complexity_score} tiers={tiers} />
          )}
          {!in_force && decision.complexity_score !== null && (
            <p class="note">
              By the ranges in force, which are meant for the scores of another strategy.{" "}
              <code>bsgateway calibrate</code> finds those of this one.
            </p>
          )}
          <Facts
            facts={[
              [
                "Tier",
                decision.tier === null ? (
                  "none: the name settles it"
                ) : (
                  <TierTag key="t" tier={decision.tier} />
                ),
              ],
              ["Model", <code key="m">{decision.resolved_model}</code>],
              ["Because", `${decision.reason}: ${reason_doc}`],
              ["Passed over", passedOver(decision.skipped)],
              ["Confidence", decision.llm_confidence === null ? null : percent(decision.llm_confidence)],
              [
                "Verdict",
                decision.llm_tier && `${decision.llm_tier} (${decision.llm_model ?? "the local model"})`,
              ],
              ["Needs", decision.needs.length > 0 ? <Chips items={decision.needs} /> : null],
              ["Tokens", tokens(decision.ask_tokens, decision.context_tokens)],
              ["Expected cost", decision.expected_cost === null ? null : money(decision.expected_cost)],
              ["Decided in", microseconds(decision.decision_us)],
            ]}
          />
          <ScoreSteps decision={decision} caption={`What makes the score of ${strategy}`} />
        </div>
      )}
    </Card>
  );
}

function passedOver(skipped: readonly { model: string; reason: string }[]): string | null {
  return skipped.length === 0 ? null : skipped.map(({ model, reason }) => `${model} (${reason})`).join(", ");
}

function tokens(ask: number | null, all: number | null): string | null {
  return ask === null || all === null ? null : `${count(ask)} in the ask, ${count(all)} in all`;
}
