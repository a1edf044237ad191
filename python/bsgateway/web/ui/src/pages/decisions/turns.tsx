import { Link } from "wouter-preact";
import type { DecisionDetail, LogRow, TierView } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { Moment } from "../../components/moment.tsx";
import { TierTag } from "../../components/tier-tag.tsx";
import { money } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";
import { useQuery, withQuery } from "../../lib/url-state.ts";
import { OutcomeMark } from "./list.tsx";
import { servedBy } from "./outcome-text.ts";
import { inOrder, moveOf } from "./turn-order.ts";

/** The conversation, request by request, with this one marked. */
export function Turns(props: { detail: DecisionDetail; zone: string }) {
  const { tiers } = useMe();
  const [query] = useQuery();
  const { decision } = props.detail.row;
  if (decision.conversation_id === null) {
    return (
      <Card title="Conversation">
        <p class="empty">The request is not part of a conversation that the gateway follows.</p>
      </Card>
    );
  }
  const turns = inOrder(props.detail);
  const all = new URLSearchParams({ conversation: decision.conversation_id, since: "90d" });
  return (
    <Card
      title="Conversation"
      note={
        <>
          {decision.previous_model ? (
            <>
              Served by <code>{decision.previous_model}</code> before this request.{" "}
            </>
          ) : (
            "Nothing was known of it before this request. "
          )}
          <Link href={withQuery("/decisions", all)}>All its decisions</Link>
        </>
      }
    >
      <ol class="turns">
        {turns.map((turn, at) => (
          <Turn
            key={turn.decision.decision_id}
            turn={turn}
            before={turns[at - 1]}
            tiers={tiers}
            zone={props.zone}
            isThis={turn.decision.decision_id === decision.decision_id}
            link={withQuery(`/decisions/${turn.decision.decision_id}`, query)}
          />
        ))}
      </ol>
    </Card>
  );
}

function Turn(props: {
  turn: LogRow;
  before: LogRow | undefined;
  tiers: readonly TierView[];
  zone: string;
  isThis: boolean;
  link: string;
}) {
  const { decision, outcome } = props.turn;
  const move = moveOf(props.turn, props.before, props.tiers);
  return (
    <li class={props.isThis ? "this" : undefined} aria-current={props.isThis ? "true" : undefined}>
      <p class="turn-line">
        {props.isThis ? (
          <strong>
            <Moment at={decision.created_at} zone={props.zone} form="clock" />, this request
          </strong>
        ) : (
          <Link href={props.link}>
            <Moment at={decision.created_at} zone={props.zone} form="clock" />
          </Link>
        )}
        {decision.tier !== null && <TierTag tier={decision.tier} />}
        {move && (
          <span class="badge">
            <span aria-hidden="true">{move.sign}</span> {move.text}
          </span>
        )}
      </p>
      <p class="note">
        {decision.complexity_score === null ? "" : `score ${decision.complexity_score}, `}
        <code>{servedBy(props.turn)}</code>, {decision.reason}, <OutcomeMark row={props.turn} />
        {outcome?.cost == null ? "" : `, ${money(outcome.cost)}`}
      </p>
    </li>
  );
}
