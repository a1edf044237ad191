// Made by make_types.py from the structs of figures.py, web/views.py, decision.py and rows.py: `make web-types`.
// Times are ISO 8601 texts, ids are UUIDs as text, money is in US dollars.

/**
 * What a group of requests adds up to.
 *
 * `requests` are all decisions. `failed` have a failure as their outcome, `fell_back` were answered by another model
 * group than the chosen one. `spent` is all cost that is known. `routed` requests went by score to the model that was
 * chosen; of these `priced` have both costs known, and `cost`, `baseline_cost` and `saved` are theirs. Tokens are
 * those that the provider counted, `prompt_tokens` includes what was read from its cache.
 */
export interface Sums {
  requests: number;
  failed: number;
  fell_back: number;
  routed: number;
  priced: number;
  spent: number;
  cost: number;
  baseline_cost: number;
  saved: number;
  learning_cost: number;
  prompt_tokens: number;
  completion_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
}

/**
 * The sums of one value of what was grouped by. `name` is None where the rows have none: requests that were not
 * routed by score have no tier, the master key no team. `label` is what people know a key by: its alias.
 */
export interface Group {
  name: string | null;
  label: string | null;
  sums: Sums;
}

/** The sums of one group in one step of time, which begins at `at`. */
export interface Point {
  at: string;
  name: string | null;
  sums: Sums;
}

/**
 * What numbers are about. `since` and `until` as they were rounded outwards, to the quarter of an hour; `timezone`
 * is an IANA name, which days begin by. `as_of`: rows that were written after it may be missing.
 */
export interface Period {
  since: string;
  until: string;
  timezone: string;
  step: "day" | "hour" | "month" | "quarter" | "week";
  as_of: string;
}

/**
 * Page and report of savings. `groups` are by what was asked for, the most spent first; `points` are by `by`, too,
 * unless that is key, team or day: then all together (name None); a step without requests has one, of no name.
 * `groups` by day are named by ISO dates, in their order. `baseline_models` are those that baseline costs were
 * computed with.
 */
export interface Savings {
  period: Period;
  by: "day" | "key" | "model" | "team" | "tier";
  total: Sums;
  groups: Group[];
  points: Point[];
  baseline_models: string[];
  assumption: string;
}

/** Requests of one value. */
export interface Count {
  name: string | null;
  requests: number;
}

/** Requests of one value in the step of time that begins at `at`. */
export interface TimedCount {
  at: string;
  name: string | null;
  requests: number;
}

/**
 * Of how long something took. In microseconds for decisions, else in milliseconds; right to 3 percent, as they come
 * from logarithmic bins. `name` is the model for latencies.
 */
export interface Percentiles {
  name: string | null;
  count: number;
  p50: number;
  p90: number;
  p99: number;
}

/**
 * Page of traffic. `scores` has 101 counts, of scores 0-100. `sticky` counts the decisions by the reasons that have
 * to do with a conversation. `failures` are by model. Scores and times are those of the whole hours that hold the
 * period. Of a key, these and methods, strategies and reasons are those of its newest 2,000 requests in the period
 * (`sampled`: it has more).
 */
export interface Traffic {
  period: Period;
  total: Sums;
  tiers: TimedCount[];
  methods: Count[];
  strategies: Count[];
  reasons: Count[];
  models: Count[];
  sticky: Count[];
  scores: number[];
  decision_us: Percentiles | null;
  latency_ms: Percentiles[];
  first_token_ms: Percentiles[];
  failures: TimedCount[];
  sampled: boolean;
}

/** A tier of the configuration in force, the cheapest first. */
export interface TierView {
  name: string;
  first: number;
  last: number;
  models: string[];
  description: string | null;
}

/**
 * What the log of the worker that answers has yet to write: rows in memory (`queued`) and on disk (`spooled_rows`),
 * the oldest of them `oldest_seconds` old. `written` and `dropped` rows since the worker's start; `circuit` is open
 * while the database is waited for.
 */
export interface Backlog {
  queued: number;
  spooled_rows: number;
  spooled_bytes: number;
  oldest_seconds: number | null;
  written: number;
  dropped: number;
  circuit: string;
  last_error: string | null;
}

/**
 * GET api/me: who looks, and what there is to see. A key that is no admin sees its own requests only.
 *
 * `log`: off (no database is configured), down (it does not answer) or on. `strategies` are those that can be
 * compared; llm only where it is configured. `text` is `collector.text`. `backlog` is there
 * for admins, while there is a log.
 */
export interface Me {
  admin: boolean;
  key: string | null;
  version: string;
  log: "down" | "off" | "on";
  mode: "route" | "shadow";
  canary: string;
  bias: number;
  strategy: string;
  strategies: string[];
  tiers: TierView[];
  baseline_model: string;
  text: "full" | "none" | "redacted";
  models: string[];
  docs: string | null;
  backlog: Backlog | null;
}

/** A word that can be filtered by; `doc` says what it means. */
export interface Option {
  value: string;
  doc: string;
}

/** GET api/filters: the closed lists that the page of decisions offers. */
export interface Filters {
  tiers: Option[];
  methods: Option[];
  strategies: Option[];
  reasons: Option[];
  models: Option[];
}

/** GET api/decisions: newest first. `rows` hold no features. `before` fetches what is older, None: that was all. */
export interface DecisionPage {
  rows: LogRow[];
  before: string | null;
}

/** What somebody said about an answer. */
export interface FeedbackView {
  created_at: string;
  source: string;
  rating: number | null;
  label: string | null;
  comment: string | null;
}

/** The dual run of a request. */
export interface ComparisonView {
  weak_tier: string;
  strong_tier: string;
  weak_model: string;
  strong_model: string;
  weak_score: number;
  strong_score: number;
  judge: string;
  cost: number | null;
}

/** A candidate that the decision had: chosen, passed over for a `reason` that `doc` explains, or not needed. */
export interface CandidateView {
  model: string;
  tier: string | null;
  fate: "chosen" | "not_reached" | "passed_over";
  reason: string | null;
  doc: string | null;
}

/**
 * GET api/decisions/ID: the whole why. `texts` is None unless `collector.text` keeps them and the viewer may read
 * them. `turns` are other requests of the conversation, oldest first, at most 50. `reason_doc` and the others explain
 * the closed words.
 */
export interface DecisionDetail {
  row: LogRow;
  reason_doc: string;
  method_doc: string;
  llm_doc: string | null;
  candidates: CandidateView[];
  texts: Texts | null;
  feedback: FeedbackView[];
  comparison: ComparisonView | null;
  turns: LogRow[];
}

/**
 * POST api/explain: a `prompt`, or a whole `body` with the `call_type` of its endpoint (guessed if not given).
 * `strategies`: those to compare, each once.
 */
export interface ExplainRequest {
  prompt?: string | null;
  body?: Record<string, unknown> | null;
  call_type?: string | null;
  model?: string;
  strategies?: ("llm" | "ml" | "static")[];
}

/**
 * What one strategy makes of a request. `decision` is None where it could not be made, for the reason `error`;
 * `in_force`: it is the strategy of the configuration.
 */
export interface Explained {
  strategy: string;
  in_force: boolean;
  decision: Decision | null;
  reason_doc: string;
  advice: string;
  error: string | null;
}

/** Answer of POST api/explain, in the order of `strategies`. */
export interface ExplainAnswer {
  explained: Explained[];
}

/**
 * GET api/what-if: what any other borders or bias would make of the last days, for the browser to add up.
 *
 * `requests[i]` are those whose score is `lowest + i`, their bias included and not yet bounded to 0-100. Another bias
 * moves them all: with `shift` (the other bias minus `bias`) their score is `min(max(lowest + i + shift, 0), 100)`.
 * `costs[tier][i]` is what they would cost at each tier, in US dollars, tokens and answers as they were; None for a
 * tier of which no price is known. `borders` are the first scores of all tiers but the lowest, ascending; `tiers` are
 * the cheapest first.
 *
 * `fixed_*` are requests that no border moves: served by name, with a tier asked for, side requests, those that a
 * local LLM named the tier of, and those that nobody can serve; `left_out` those that cannot be scored as they would
 * be today. Conversations that keep their tier, and limits of tiers, are not followed: each request goes by its own
 * score. `days` is the time that the requests stand for. `sampled`: only the newest of the time were read; from
 * `since` on.
 */
export interface WhatIf {
  since: string;
  until: string;
  days: number;
  sampled: boolean;
  strategy: string;
  tiers: string[];
  borders: number[];
  bias: number;
  lowest: number;
  requests: number[];
  costs: (number[] | null)[];
  fixed_requests: number;
  fixed_cost: number;
  left_out: number;
  notes: string[];
}

/** POST api/what-if/lines: borders and a bias, as they were chosen on the page. */
export interface SettingRequest {
  borders: number[];
  bias: number;
}

/** Answer of POST api/what-if/lines: the YAML to put into gateway.yaml. Nothing writes it there. */
export interface SettingLines {
  yaml: string;
}

/**
 * Labels of one source in the log of the last `days`; `doc` says what they are, `weight` what training makes of
 * each.
 */
export interface LabelCount {
  source: string;
  labels: number;
  weight: number;
  doc: string;
}

/** An estimate on rows that the model was not trained on, with its 95 % interval where there is one. */
export interface HeldOut {
  name: string;
  value: number;
  low: number | null;
  high: number | null;
}

/**
 * A model file that was kept. `state`: in_force, previous, candidate (trained and not promoted) or older, or prior
 * (comes with the package). `curve`: share of requests that go to the strong model -> quality, 0-1 each; empty where
 * the file does not tell. `better`: whether its lower bound beat what ran when it was trained, None if unknown.
 */
export interface ModelVersion {
  id: string;
  state: "candidate" | "in_force" | "older" | "previous" | "prior";
  kind: string;
  created: string;
  rows: number;
  labels: Record<string, number>;
  held_out: HeldOut[];
  better: boolean | null;
  curve: [number, number][];
  random_curve: [number, number][];
}

/**
 * GET api/learning. `in_force`: the id of the model that scores, None where the strategy uses none. `can_promote`:
 * who looks may put another one in force, and the gateway may write its file.
 */
export interface LearningView {
  strategy: string;
  in_force: string | null;
  days: number;
  labels: LabelCount[];
  versions: ModelVersion[];
  can_promote: boolean;
  train_command: string;
}

/** POST api/learning/promote: put a kept version in force. `force`: although it was not certain to be better. */
export interface PromoteRequest {
  id: string;
  force?: boolean;
}

/** Answer of POST api/learning/promote: what scores from now on, and what did before. Other workers follow. */
export interface Promoted {
  id: string;
  before: string | null;
}

/**
 * POST /bsgateway/feedback: a `rating` from 0 (useless) to 1 (just right), or the `label` of the tier that would
 * have been right, or both; and a `comment`.
 */
export interface FeedbackRequest {
  decision_id: string;
  rating?: number | null;
  label?: string | null;
  comment?: string | null;
}

/** Answer of POST /bsgateway/feedback, once it is in the database. `comment` says what became of the words. */
export interface FeedbackAnswer {
  decision_id: string;
  stored: boolean;
  comment: "dropped" | "kept" | "none" | "redacted";
}

/** Body of every answer that is no success: what is wrong and what to do. */
export interface Problem {
  error: string;
  remedy: string;
  field: string | null;
}

/** Who asked, as LiteLLM authenticated it. `key_hash` is LiteLLM's hash of the key; the key itself is nowhere. */
export interface Caller {
  call_id: string | null;
  session_id: string | null;
  key_hash: string | null;
  key_alias: string | null;
  user_id: string | null;
  team_id: string | null;
  end_user: string | null;
  user_agent: string | null;
}

/** A signal's share of the score: `value` 0-100, `weight` 0-1, `points` that add up to the raw score. */
export interface Contribution {
  signal: string;
  value: number;
  weight: number;
  points: number;
}

/**
 * One decision. Score fields are None unless the request was routed by score.
 *
 * `complexity_score` is 0-100 after `bias`; `raw_score` is the classifier's own, before bias and rounding.
 * `confidence` is 0-1 (for the static strategy: distance to the nearest tier boundary, not a calibrated probability).
 * Tokens are of `token_encoding`, tiktoken's name; `tokens_exact` is False where a text was estimated. `decision_us`
 * is the time all of it took inside the gateway, in microseconds.
 *
 * `applied` is False where the request went on as it came (shadow mode, the other share of a canary, a dry run, no
 * candidate): `resolved_model` is then what would have served it. `conversation_id` is a hash that the requests of one
 * conversation share, `previous_model` what served it last. `skipped` are the candidates that were passed over.
 * `expected_cost` is in US dollars. `changes` names what was changed in the body for the model's sake, `ignored` what
 * the client asked of the routing without being allowed to.
 *
 * `scorer_id` names the model file that made the score. `propensity` is the probability with which the tier was to be
 * chosen, while tiers are explored at random; `explored` says that chance decided.
 *
 * `llm_status` is what came of the strategy llm. `llm_tier` and `llm_confidence` (0-1) are the verdict, `llm_model`
 * who gave it, and `llm_prompt` the version of the question, which depends on the tiers and their descriptions.
 */
export interface Decision {
  decision_id: string;
  created_at: string;
  call_type: string;
  method: Method;
  reason: Reason;
  original_model: string;
  resolved_model: string;
  tier: string | null;
  complexity_score: number | null;
  strategy: Strategy | null;
  confidence: number | null;
  raw_score: number | null;
  bias: number;
  contributions: Contribution[];
  needs: string[];
  features: number[] | null;
  feature_version: number | null;
  ask_tokens: number | null;
  system_tokens: number | null;
  context_tokens: number | null;
  tool_tokens: number | null;
  tokens_exact: boolean | null;
  max_output_tokens: number | null;
  stream: boolean;
  caller: Caller;
  decision_us: number;
  token_encoding: string | null;
  applied: boolean;
  conversation_id: string | null;
  previous_model: string | null;
  skipped: Skipped[];
  expected_cost: number | null;
  changes: string[];
  ignored: string[];
  scorer_id: string | null;
  propensity: number | null;
  explored: boolean;
  llm_status: LlmStatus | null;
  llm_tier: string | null;
  llm_confidence: number | null;
  llm_model: string | null;
  llm_prompt: string | null;
}

/**
 * What came of the strategy llm for a request. All that is neither a verdict nor a choice not to ask is a reason,
 * too (`llm_` before it): the fallback has made the score.
 */
export type LlmStatus = "asked" | "bad_answer" | "busy" | "certain" | "cold" | "disconnected" | "error" | "failed" | "known" | "no_model" | "not_needed" | "open" | "timeout" | "unreachable";

/** A decision and what came of it; `outcome` is None while the provider is at work, or when it never answered. */
export interface LogRow {
  decision: Decision;
  outcome: Outcome | null;
}

/** How the requested name was resolved. */
export type Method = "alias" | "auto" | "passthrough" | "pattern";

/**
 * What the provider did. `status` is success or failure; a later success replaces a failure of the same decision,
 * as LiteLLM reports a failed attempt before the fallback that then succeeds. Costs in US dollars, None when unpriced.
 *
 * `baseline_model` is the top tier's model and `baseline_cost` what the same tokens would have cost there.
 */
export interface Outcome {
  decision_id: string;
  completed_at: string;
  status: string;
  call_id: string | null;
  served_group: string | null;
  served_model: string | null;
  provider: string | null;
  prompt_tokens: number | null;
  completion_tokens: number | null;
  cache_read_tokens: number | null;
  cache_write_tokens: number | null;
  cost: number | null;
  baseline_model: string | null;
  baseline_cost: number | null;
  latency_ms: number | null;
  first_token_ms: number | null;
  error_class: string | null;
  error_status: number | null;
  finish_reason: string | null;
}

/** Why this model: the one rule that settled it. A closed list, visible in header, log and `explain`. */
export type Reason = "alias" | "cheapest_in_tier" | "context_window" | "cooling_down" | "explored" | "failed_open" | "host_model" | "llm_bad_answer" | "llm_busy" | "llm_cold" | "llm_disconnected" | "llm_error" | "llm_failed" | "llm_no_model" | "llm_open" | "llm_timeout" | "llm_unreachable" | "model_list" | "model_list_wildcard" | "needs" | "no_candidate" | "not_allowed" | "over_budget" | "pattern_score" | "provider_state" | "requested_tier" | "score" | "session_down" | "session_kept" | "session_up" | "side_request" | "tier_limit" | "tool_result" | "unknown_model_left" | "unknown_model_score";

/** A candidate that was passed over, and why. */
export interface Skipped {
  model: string;
  reason: Reason;
}

/** What made the score. */
export type Strategy = "llm" | "ml" | "static";

/**
 * The words of a request, kept only when `collector.text` says so: a row of `routing_texts`.
 *
 * `redacted` tells whether keys and personal data were replaced by placeholders; a request's own words until then.
 */
export interface Texts {
  decision_id: string;
  created_at: string;
  ask: string;
  system: string;
  redacted: boolean;
}
