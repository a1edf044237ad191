import type { Decision, DecisionDetail, Outcome, TierView } from "../../api.d.ts";
import { milliseconds, money, percent } from "../../lib/format.ts";
import { whyPassedOver } from "./passed-over.ts";

/** A piece of a sentence: words, or a name that is shown as it is. */
export type Piece = string | { name: string };
export type Sentence = Piece[];

/** What happened, in plain words: what was asked for, how it was scored, why this model, and what came of it. */
export function story(detail: DecisionDetail, tiers: readonly TierView[]): Sentence[] {
  const { decision, outcome } = detail.row;
  const told = [
    asked(decision),
    scored(decision, tiers),
    verdict(detail),
    settled(detail),
    ...passedOver(detail),
  ];
  told.push(applied(decision), answered(decision, outcome));
  return told.filter((sentence) => sentence.length > 0);
}

/** A sentence as plain text. */
export function plainText(sentence: Sentence): string {
  return sentence.map((piece) => (typeof piece === "string" ? piece : piece.name)).join("");
}

function asked(decision: Decision): Sentence {
  const name = { name: decision.original_model };
  switch (decision.method) {
    case "alias":
      return ["Asked for ", name, ", which is an alias."];
    case "pattern":
      return ["Asked for ", name, ", which a pattern catches: it is routed by score."];
    case "auto":
      return decision.reason === "unknown_model_score"
        ? ["Asked for ", name, ", which nothing knows: it is routed by score."]
        : ["Asked for ", name, ", which is routed by score."];
    default:
      return ["Asked for ", name, ", which is served as asked."];
  }
}

function scored(decision: Decision, tiers: readonly TierView[]): Sentence {
  const { complexity_score: score, raw_score: raw, bias, strategy } = decision;
  if (score === null) return [];
  const by = strategy === "llm" ? "the local LLM's word" : `the strategy ${strategy ?? "static"}`;
  const model: Piece[] = decision.scorer_id ? [" (model ", { name: decision.scorer_id }, ")"] : [];
  const leaning = bias === 0 || raw === null ? "" : ` (${Math.round(raw)} and a bias of ${signed(bias)})`;
  const tier = tiers.find((each) => each.first <= score && score <= each.last);
  const place: Piece[] = tier
    ? [", which is in the range of ", { name: tier.name }, ` today (${tier.first}–${tier.last})`]
    : [];
  return [`Scored ${score} of 100 by ${by}`, ...model, leaning, ...place, "."];
}

function verdict(detail: DecisionDetail): Sentence {
  const { llm_status: status, llm_tier: tier, llm_confidence: sure, llm_model: model } = detail.row.decision;
  if (status === null) return [];
  if (tier !== null) {
    const said = status === "known" ? "had said before" : "said";
    const share = sure === null ? "" : `, with a confidence of ${percent(sure)}`;
    return [
      "The local LLM ",
      ...(model ? [{ name: model }, " "] : []),
      `${said} `,
      { name: tier },
      `${share}.`,
    ];
  }
  return [`Of the local LLM: ${detail.llm_doc ?? status}.`];
}

/** The rule that settled it, in the words of the closed list. */
function settled(detail: DecisionDetail): Sentence {
  const { decision } = detail.row;
  const where: Piece[] = decision.tier
    ? ["Tier ", { name: decision.tier }, ", model ", { name: decision.resolved_model }]
    : ["Model ", { name: decision.resolved_model }];
  const rule = detail.reason_doc ? `: ${detail.reason_doc}.` : ` (${decision.reason}).`;
  const chance =
    decision.explored && decision.propensity !== null
      ? ` This tier had a chance of ${percent(decision.propensity)}.`
      : "";
  return [...where, rule, chance];
}

function passedOver(detail: DecisionDetail): Sentence[] {
  return detail.candidates
    .filter(({ fate }) => fate === "passed_over")
    .map((candidate) => [
      { name: candidate.model },
      ` was passed over: ${whyPassedOver(candidate, detail.row.decision.needs)}.`,
    ]);
}

function applied(decision: Decision): Sentence {
  if (decision.applied) return [];
  return [
    "Nothing was rewritten: the request went on for ",
    { name: decision.original_model },
    decision.tier === null ? "." : ", and this is what would have happened.",
  ];
}

function answered(decision: Decision, outcome: Outcome | null): Sentence {
  if (outcome === null) return ["No outcome is known: the model is still at work, or its answer never came."];
  const served =
    outcome.served_group ?? (decision.applied ? decision.resolved_model : decision.original_model);
  const model = { name: served };
  if (outcome.status === "failure") {
    const status = outcome.error_status === null ? "" : ` (status ${outcome.error_status})`;
    return [model, ` failed: ${outcome.error_class ?? "for a reason that is not known"}${status}.`];
  }
  const instead: Piece[] =
    decision.applied && outcome.served_group !== null && outcome.served_group !== decision.resolved_model
      ? [{ name: decision.resolved_model }, " failed, so LiteLLM fell back: "]
      : [];
  const time = outcome.latency_ms === null ? "" : ` in ${milliseconds(outcome.latency_ms)}`;
  const price = outcome.cost === null ? ", at a price that is not known" : ` for ${money(outcome.cost)}`;
  return [...instead, model, ` answered${time}${price}`, ...compared(outcome), "."];
}

function compared(outcome: Outcome): Piece[] {
  const { cost, baseline_cost: dear, baseline_model: model } = outcome;
  if (cost === null || dear === null || model === null || model === outcome.served_group) return [];
  return ["; ", { name: model }, ` would have cost ${money(dear)} for the same tokens`];
}

function signed(points: number): string {
  return points > 0 ? `+${points}` : `−${Math.abs(points)}`;
}
