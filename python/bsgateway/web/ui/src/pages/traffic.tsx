import { useMemo } from "preact/hooks";
import type { Count, Filters, Option, Percentiles, Sums, Traffic as TrafficData } from "../api.d.ts";
import { BarTable } from "../components/bar-table.tsx";
import { Card, Stat, Stats } from "../components/card.tsx";
import { OverTimeFigure } from "../components/over-time-figure.tsx";
import { PeriodBar, usePeriod } from "../components/period-bar.tsx";
import { Await, Notice } from "../components/status.tsx";
import { ToDecisions } from "../components/to-decisions.tsx";
import { useApi } from "../lib/api.ts";
import { compact, count, microseconds, milliseconds, share } from "../lib/format.ts";
import { useMe } from "../lib/me.ts";
import { AsOf, PageTitle } from "../shell/page-title.tsx";
import { Backlog } from "./traffic/backlog.tsx";
import { Latencies } from "./traffic/latencies.tsx";
import { failuresOverTime, tiersOverTime } from "./traffic/over-time.ts";
import { Scores } from "./traffic/scores.tsx";

/** What was asked for, how it was decided, how long it took and what failed. */
export function Traffic() {
  const period = usePeriod();
  const loaded = useApi<TrafficData>(`api/traffic?${period.api}`, "Traffic");
  const { data: filters } = useApi<Filters>("api/filters", "Words", { live: false });
  return (
    <>
      <PageTitle
        title="Traffic"
        lead="Where requests went and by which rule, how long it took, and what failed."
      >
        {loaded.data && <AsOf at={loaded.data.period.as_of} zone={period.zone} />}
      </PageTitle>
      <PeriodBar />
      <Await of={loaded} name="traffic">
        {(data) => (
          <>
            <Totals data={data} />
            {data.sampled && (
              <Notice>
                This key has many requests in this period. Scores, times, reasons, methods and strategies are
                those of its newest 2,000; all else counts every one.
              </Notice>
            )}
            <ByTier data={data} />
            <Scores scores={data.scores} />
            <Rules data={data} words={filters} />
            <Latencies latency={data.latency_ms} firstToken={data.first_token_ms} />
            <Failures data={data} />
            <Backlog />
          </>
        )}
      </Await>
    </>
  );
}

function Totals(props: { data: TrafficData }) {
  const { total, decision_us: decision, latency_ms: latencies } = props.data;
  const slowest = latencies.reduce<Percentiles | null>(
    (most, one) => (most === null || one.p90 > most.p90 ? one : most),
    null,
  );
  return (
    <Stats>
      <Stat
        label="Requests"
        value={compact(total.requests)}
        note={
          total.requests ? `${share(total.routed, total.requests)} routed by score` : "none in this period"
        }
      />
      <Stat
        label="Decision time"
        value={decision ? microseconds(decision.p50) : "–"}
        note={decision ? `median; 99% within ${microseconds(decision.p99)}` : "nothing was decided by score"}
      />
      <Stat
        label="Slowest model"
        value={slowest ? milliseconds(slowest.p90) : "–"}
        note={slowest ? `90% of the answers of ${slowest.name ?? "it"} came within` : "nothing was answered"}
      />
      <Stat
        label="Failed"
        value={count(total.failed)}
        {...(total.failed > 0 ? { tone: "bad" as const } : {})}
        note={failedNote(total)}
      />
      <Stat
        label="Fell back"
        value={count(total.fell_back)}
        note="answered by another model than the chosen one"
      />
    </Stats>
  );
}

function failedNote(total: Sums): string {
  return total.requests === 0 ? "of no requests" : `${share(total.failed, total.requests)} of requests`;
}

function ByTier(props: { data: TrafficData }) {
  const { tiers } = useMe();
  const of = useMemo(() => tiersOverTime(props.data, tiers), [props.data, tiers]);
  return (
    <Card title="Requests by tier">
      <OverTimeFigure title="Requests by tier, over time" of={of} />
    </Card>
  );
}

function Rules(props: { data: TrafficData; words: Filters | undefined }) {
  const { data, words } = props;
  return (
    <div class="grid">
      <Words
        title="Reason"
        filter="reason"
        note="The one rule that settled the model."
        counts={data.reasons}
        docs={words?.reasons}
      />
      <div class="stack">
        <Words
          title="Method"
          filter="method"
          note="How the requested name was resolved."
          counts={data.methods}
          docs={words?.methods}
        />
        <Words
          title="Strategy"
          filter="strategy"
          note="What made the score."
          counts={data.strategies}
          docs={words?.strategies}
          none="not scored"
        />
      </div>
      <div class="stack">
        <Words
          title="Model"
          filter="model"
          note="The group that answered, or failed to."
          counts={data.models}
        />
        <Words
          title="Conversations"
          filter="reason"
          note="Decisions in which the conversation's own tier or state had a say."
          counts={data.sticky}
          docs={words?.reasons}
        />
      </div>
    </div>
  );
}

function Failures(props: { data: TrafficData }) {
  const of = useMemo(() => failuresOverTime(props.data), [props.data]);
  return (
    <Card title="Failures by model" note="Failures that no retry or fallback made good.">
      {of.cells.length === 0 ? (
        <p class="empty">No request failed in this period.</p>
      ) : (
        <>
          <OverTimeFigure title="Failures by model, over time" of={of} />
          <p class="note">
            <ToDecisions filter="status" value="failure">
              The decisions that failed
            </ToDecisions>
            : each says with which error.
          </p>
        </>
      )}
    </Card>
  );
}

function Words(props: {
  title: string;
  note: string;
  filter: string;
  counts: readonly Count[];
  docs?: readonly Option[] | undefined;
  none?: string;
}) {
  const docs = new Map(props.docs?.map(({ value, doc }) => [value, doc]));
  const bars = props.counts.map(({ name, requests }) => ({
    name: name ?? props.none ?? "none",
    value: requests,
    doc: name === null ? undefined : docs.get(name),
    filter: name === null ? undefined : props.filter,
  }));
  return (
    <Card title={props.title} note={props.note}>
      <BarTable caption={`Requests by ${props.title.toLowerCase()}`} heading={props.title} bars={bars} />
    </Card>
  );
}
