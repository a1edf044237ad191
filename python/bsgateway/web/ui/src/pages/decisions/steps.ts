import type { Decision } from "../../api.d.ts";

/** A step on the way to the score: the bar from `from` to `to`. `value` and `weight` where the signal has them. */
export interface ScoreStep {
  name: string;
  doc?: string;
  points: number;
  from: number;
  to: number;
  value?: number;
  weight?: number;
}

const DOCS: Record<string, string> = {
  token_count: "length of the user's newest ask",
  system_prompt: "length of the system prompt",
  keyword_patterns: "keywords, lists and questions of the ask",
  conversation_length: "number of real asks so far",
  code_complexity: "code and stack traces in the ask",
  tool_usage: "tools declared, and steps taken since the ask",
  base: "where a learned model begins with every request",
  other: "all smaller signals together",
  "llm:within_tier": "keeps the score within the range of the tier that was named",
};
/** Signals that only lift or bound what the others make: their weight means nothing. */
const UNWEIGHTED = /^(floor:|llm:within_tier$)/;
/** Points whose lack nobody sees. */
const CLOSE = 0.05;

/** What a signal's name means, where that is known here. */
export function signalDoc(signal: string): string | undefined {
  if (signal.startsWith("floor:")) return `lifts the score to at least this, for ${words(signal.slice(6))}`;
  if (signal.startsWith("llm:") && !(signal in DOCS)) return "the local LLM's probability of this tier";
  return DOCS[signal];
}

/** The contributions, one after the other, to the raw score; then the bias, to the score. */
export function scoreSteps(decision: Decision): ScoreStep[] {
  const steps: ScoreStep[] = [];
  let at = 0;
  const add = (name: string, points: number, rest: Partial<ScoreStep> = {}) => {
    steps.push({ ...rest, name, points, from: at, to: at + points });
    at += points;
  };
  for (const { signal, value, weight, points } of decision.contributions) {
    const doc = signalDoc(signal);
    add(words(signal), points, {
      ...(doc === undefined ? {} : { doc }),
      // Those of a learned model are in units of its own.
      ...(decision.strategy === "ml" ? {} : { value }),
      ...(decision.strategy === "ml" || UNWEIGHTED.test(signal) ? {} : { weight }),
    });
  }
  const rest = (decision.raw_score ?? at) - at;
  if (decision.contributions.length > 0 && Math.abs(rest) > CLOSE) add("not told apart", rest);
  if (decision.bias !== 0) {
    if (steps.length === 0 && decision.raw_score !== null) add("raw score", decision.raw_score);
    add("bias", decision.bias, { doc: "of configuration, alias, key, team and request together" });
  }
  return steps;
}

/** The scale that all steps fit on: 0-100, and what lies beyond. */
export function stepsRange(steps: readonly ScoreStep[]): [low: number, high: number] {
  const ends = steps.flatMap(({ from, to }) => [from, to]);
  return [Math.min(0, ...ends), Math.max(100, ...ends)];
}

/** An identifier as words: `keyword_patterns` is "keyword patterns". */
export function words(name: string): string {
  return name.replaceAll("_", " ").replace(/^(floor|llm):/, "$1: ");
}
