import { useCallback, useRef } from "preact/hooks";
import { Link } from "wouter-preact";
import type { LogRow } from "../../api.d.ts";
import { type Column, DataTable } from "../../components/data-table.tsx";
import { Moment } from "../../components/moment.tsx";
import { NothingYet } from "../../components/nothing-yet.tsx";
import { ScoreBar } from "../../components/score-scale.tsx";
import { ErrorNote } from "../../components/status.tsx";
import { TierTag } from "../../components/tier-tag.tsx";
import { tierIndex } from "../../lib/colors.ts";
import { milliseconds, money } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";
import { useQuery, withQuery } from "../../lib/url-state.ts";
import { activeFilters } from "./filters.ts";
import { outcomeText, servedBy } from "./outcome-text.ts";
import { useDecisions } from "./use-decisions.ts";

/** The rows. Made anew for another `query`. */
export function DecisionList(props: { query: string; zone: string; reasons: ReadonlyMap<string, string> }) {
  const place = useRef<HTMLDivElement>(null);
  const isBusy = useCallback(() => {
    const element = place.current;
    if (!element) return false;
    return element.getBoundingClientRect().top < 0 || element.contains(document.activeElement);
  }, []);
  const { list, isLoading, error, reload, showNew, loadOlder, older } = useDecisions(props.query, isBusy);
  const columns = useColumns(props.zone, props.reasons);
  const [address] = useQuery();
  const nothing = list.rows.length === 0 && !error && activeFilters(address).length === 0;
  if (isLoading) return <p class="loading">Loading decisions …</p>;
  return (
    <div class="stack" ref={place}>
      {error && error.status !== 401 && <ErrorNote error={error} retry={reload} />}
      {list.waiting.length > 0 && (
        <button type="button" class="new-rows" onClick={showNew}>
          Show {list.waiting.length} new {list.waiting.length === 1 ? "decision" : "decisions"}
        </button>
      )}
      {nothing && <NothingYet />}
      {(list.rows.length > 0 || !(error || nothing)) && (
        <div class="card decision-table">
          <DataTable
            caption="Decisions, newest first"
            columns={columns}
            rows={list.rows}
            rowKey={(row) => row.decision.decision_id}
            sortable={false}
            empty="No decision matches. Widen the period or take a filter away."
          />
        </div>
      )}
      {older.error && <ErrorNote error={older.error} />}
      {list.before !== null && (
        <button type="button" class="older" disabled={older.loading} onClick={() => void loadOlder()}>
          {older.loading ? "Loading …" : "Show older decisions"}
        </button>
      )}
      {list.before === null && list.rows.length > 0 && (
        <p class="note">These are all {list.rows.length} of this period.</p>
      )}
    </div>
  );
}

function useColumns(zone: string, reasons: ReadonlyMap<string, string>): Column<LogRow>[] {
  const { tiers } = useMe();
  const [query] = useQuery();
  return [
    {
      name: "Time",
      value: ({ decision }) => decision.created_at,
      cell: ({ decision }) => (
        <Link href={withQuery(`/decisions/${decision.decision_id}`, query)} class="row-link">
          <Moment at={decision.created_at} zone={zone} form="short" />
          <span class="visually-hidden"> {decision.original_model}: the whole why</span>
        </Link>
      ),
    },
    {
      name: "Asked for",
      value: ({ decision }) => decision.original_model,
      cell: ({ decision }) => <span class="mono cut">{decision.original_model}</span>,
    },
    {
      name: "Score",
      value: ({ decision }) => decision.complexity_score,
      cell: ({ decision }) => (
        <ScoreBar score={decision.complexity_score} tier={tierIndex(tiers, decision.tier)} />
      ),
    },
    {
      name: "Tier",
      value: ({ decision }) => decision.tier,
      cell: ({ decision }) =>
        decision.tier === null ? <span class="faint">–</span> : <TierTag tier={decision.tier} />,
    },
    {
      name: "Served by",
      value: servedBy,
      cell: (row) => (
        <span class="mono cut">
          {servedBy(row)}
          {!row.decision.applied && <span class="badge">not rewritten</span>}
        </span>
      ),
    },
    {
      name: "Reason",
      value: ({ decision }) => decision.reason,
      cell: ({ decision }) => (
        <span class="nowrap" title={reasons.get(decision.reason)}>
          {decision.reason}
        </span>
      ),
    },
    { name: "Status", value: (row) => outcomeText(row).text, cell: (row) => <OutcomeMark row={row} /> },
    {
      name: "Latency",
      numeric: true,
      hint: "From the request to the whole answer",
      value: ({ outcome }) => outcome?.latency_ms ?? null,
      cell: ({ outcome }) => milliseconds(outcome?.latency_ms),
    },
    {
      name: "Cost",
      numeric: true,
      value: ({ outcome }) => outcome?.cost ?? null,
      cell: ({ outcome }) => money(outcome?.cost),
    },
    {
      name: "Top tier",
      numeric: true,
      hint: "What the same tokens would have cost at the top tier's first model",
      value: ({ outcome }) => outcome?.baseline_cost ?? null,
      cell: ({ outcome }) => money(outcome?.baseline_cost),
    },
  ];
}

export function OutcomeMark(props: { row: LogRow }) {
  const { sign, text, tone, note } = outcomeText(props.row);
  return (
    <span class="outcome">
      <span class={`outcome-sign ${tone}`} aria-hidden="true">
        {sign}
      </span>{" "}
      {text}
      {note && (
        <span class="outcome-note" title={note}>
          {note}
        </span>
      )}
    </span>
  );
}
