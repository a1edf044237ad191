import type { Decision, DecisionDetail, LogRow, Outcome, TierView } from "../src/api.d.ts";

// Records to test with, of a plain request that went well.

export const TIERS: TierView[] = [
  { name: "simple", first: 0, last: 30, models: ["small"], description: null },
  { name: "medium", first: 31, last: 65, models: ["middling"], description: null },
  { name: "complex", first: 66, last: 100, models: ["large"], description: null },
];

export function decisionId(number: number): string {
  return `01890a5d-ac96-774b-bcce-${String(number).padStart(12, "0")}`;
}

export function decision(changes: Partial<Decision> = {}): Decision {
  return {
    decision_id: decisionId(1),
    created_at: "2026-03-01T10:00:00Z",
    call_type: "acompletion",
    method: "auto",
    reason: "score",
    original_model: "auto",
    resolved_model: "middling",
    tier: "medium",
    complexity_score: 41,
    strategy: "static",
    confidence: 0.7,
    raw_score: 41.2,
    bias: 0,
    contributions: [],
    needs: [],
    features: null,
    feature_version: null,
    ask_tokens: 10,
    system_tokens: 0,
    context_tokens: 10,
    tool_tokens: 0,
    tokens_exact: true,
    max_output_tokens: null,
    stream: false,
    caller: {
      call_id: null,
      session_id: null,
      key_hash: null,
      key_alias: null,
      user_id: null,
      team_id: null,
      end_user: null,
      user_agent: null,
    },
    decision_us: 50,
    token_encoding: "o200k_base",
    applied: true,
    conversation_id: null,
    previous_model: null,
    skipped: [],
    expected_cost: null,
    changes: [],
    ignored: [],
    scorer_id: null,
    propensity: null,
    explored: false,
    llm_status: null,
    llm_tier: null,
    llm_confidence: null,
    llm_model: null,
    llm_prompt: null,
    ...changes,
  };
}

export function outcome(changes: Partial<Outcome> = {}): Outcome {
  return {
    decision_id: decisionId(1),
    completed_at: "2026-03-01T10:00:01Z",
    status: "success",
    call_id: null,
    served_group: "middling",
    served_model: null,
    provider: null,
    prompt_tokens: 10,
    completion_tokens: 20,
    cache_read_tokens: null,
    cache_write_tokens: null,
    cost: 0.02,
    baseline_model: "large",
    baseline_cost: 0.5,
    latency_ms: 1200,
    first_token_ms: null,
    error_class: null,
    error_status: null,
    finish_reason: "stop",
    ...changes,
  };
}

export function row(number: number, changes: Partial<Decision> = {}, came: Outcome | null = null): LogRow {
  return { decision: decision({ decision_id: decisionId(number), ...changes }), outcome: came };
}

export function detail(changes: Partial<DecisionDetail> = {}): DecisionDetail {
  return {
    row: { decision: decision(), outcome: outcome() },
    reason_doc: "the tier of the score",
    method_doc: "the client asked for routing by score",
    llm_doc: null,
    candidates: [],
    texts: null,
    feedback: [],
    comparison: null,
    turns: [],
    ...changes,
  };
}
