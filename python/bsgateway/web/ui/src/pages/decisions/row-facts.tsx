import type { DecisionDetail, LogRow } from "../../api.d.ts";
import { Chips, Facts } from "../../components/facts.tsx";
import { Moment } from "../../components/moment.tsx";
import { Explained } from "../../components/status.tsx";
import { nameOfApi } from "../../lib/apis.ts";
import { count, microseconds, milliseconds, money, percent } from "../../lib/format.ts";
import { OutcomeMark } from "./list.tsx";

/** What LiteLLM has in place of the hash of its master key. */
const MASTER_KEY = "litellm_proxy_master_key";

/** What was asked, by whom, and what the gateway made of it. */
export function RequestFacts(props: { detail: DecisionDetail }) {
  const { decision } = props.detail.row;
  const { caller } = decision;
  const exact = decision.tokens_exact === false ? ", partly estimated" : "";
  return (
    <Facts
      facts={[
        [
          "API",
          <span key="e" title={decision.call_type}>
            {nameOfApi(decision.call_type)}
            {decision.stream ? ", streamed" : ""}
          </span>,
        ],
        ["Asked for", <code key="a">{decision.original_model}</code>],
        ["Method", <Explained key="m" text={decision.method} doc={props.detail.method_doc} />],
        ["Reason", <Explained key="r" text={decision.reason} doc={props.detail.reason_doc} />],
        ["Confidence", decision.llm_confidence === null ? null : percent(decision.llm_confidence)],
        ["Needs", decision.needs.length > 0 ? <Chips items={decision.needs} /> : "nothing special"],
        ["Ask", tokens(decision.ask_tokens, exact)],
        ["System prompt", tokens(decision.system_tokens)],
        ["Tools", tokens(decision.tool_tokens)],
        ["All that was sent", tokens(decision.context_tokens, exact)],
        ["Answer, at most", tokens(decision.max_output_tokens)],
        ["Expected cost", decision.expected_cost === null ? null : money(decision.expected_cost)],
        ["Changed in the body", decision.changes.length > 0 ? <Chips items={decision.changes} /> : null],
        [
          "Asked of the routing in vain",
          decision.ignored.length > 0 ? <Chips items={decision.ignored} /> : null,
        ],
        ["Key", caller.key_alias ?? (caller.key_hash === MASTER_KEY ? "master key" : caller.key_hash)],
        ["Team", caller.team_id],
        ["User", caller.user_id],
        ["End user", caller.end_user],
        ["Client", caller.user_agent],
        ["Call id", caller.call_id && <code>{caller.call_id}</code>],
        ["Decided in", microseconds(decision.decision_us)],
      ]}
    />
  );
}

/** What the provider did. */
export function OutcomeFacts(props: { row: LogRow; zone: string }) {
  const { outcome } = props.row;
  if (outcome === null) {
    return (
      <p class="empty">
        None is known yet: the model is at work, or the client left, or the gateway was stopped.
      </p>
    );
  }
  return (
    <Facts
      facts={[
        ["Status", <OutcomeMark key="s" row={props.row} />],
        ["Served by", outcome.served_group && <code>{outcome.served_group}</code>],
        ["Provider's model", outcome.served_model && <code>{outcome.served_model}</code>],
        ["Provider", outcome.provider],
        ["Error", outcome.error_class],
        ["Ended because of", outcome.finish_reason],
        ["Input", tokens(outcome.prompt_tokens)],
        ["of it read from the cache", cached(outcome.cache_read_tokens, outcome.prompt_tokens)],
        ["written to the cache", tokens(outcome.cache_write_tokens)],
        ["Output", tokens(outcome.completion_tokens)],
        ["Cost", money(outcome.cost)],
        [
          "At the top tier",
          outcome.baseline_cost === null
            ? null
            : `${money(outcome.baseline_cost)} (${outcome.baseline_model})`,
        ],
        ["First token", outcome.first_token_ms === null ? null : milliseconds(outcome.first_token_ms)],
        ["Whole answer", milliseconds(outcome.latency_ms)],
        ["Completed", <Moment key="d" at={outcome.completed_at} zone={props.zone} />],
      ]}
    />
  );
}

function tokens(value: number | null, note = ""): string | null {
  return value === null ? null : `${count(value)} ${value === 1 ? "token" : "tokens"}${note}`;
}

function cached(read: number | null, all: number | null): string | null {
  if (read === null) return null;
  return `${tokens(read)}${all ? ` (${percent(read / all)})` : ""}`;
}
