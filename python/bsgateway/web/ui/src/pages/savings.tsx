import { useMemo } from "preact/hooks";
import type { Savings as SavingsData, Sums } from "../api.d.ts";
import { Card, Stat, Stats } from "../components/card.tsx";
import { Segmented } from "../components/controls.tsx";
import { NothingYet } from "../components/nothing-yet.tsx";
import { OverTimeFigure } from "../components/over-time-figure.tsx";
import { PeriodBar, usePeriod } from "../components/period-bar.tsx";
import { Await } from "../components/status.tsx";
import { useApi } from "../lib/api.ts";
import { compact, count, money, share } from "../lib/format.ts";
import { useMe } from "../lib/me.ts";
import { BY, oneOf, SHOWN, type Shown, savingsOverTime } from "../lib/savings-over-time.ts";
import { useQuery } from "../lib/url-state.ts";
import { AsOf, PageTitle } from "../shell/page-title.tsx";
import { GroupTable } from "./savings/group-table.tsx";

/** What was spent, what the top tier alone would have cost, and the difference. */
export function Savings() {
  const [query, change] = useQuery();
  const period = usePeriod();
  const by = oneOf(BY, query.get("by"), "tier");
  const shown = oneOf(SHOWN, query.get("show"), "against");
  const path = `api/savings?${new URLSearchParams([...period.api, ["by", by]])}`;
  const loaded = useApi<SavingsData>(path, "Savings");
  return (
    <>
      <PageTitle title="Savings" lead="What routing by score has saved, and what all requests have cost.">
        {loaded.data && <AsOf at={loaded.data.period.as_of} zone={period.zone} />}
      </PageTitle>
      <PeriodBar />
      <Await of={loaded} name="savings">
        {(data) => (
          <>
            <Totals data={data} />
            {data.total.requests === 0 && <NothingYet />}
            <Chart
              data={data}
              shown={shown}
              onShow={(value) => change({ show: value === "against" ? null : value })}
            />
            <GroupTable
              data={data}
              onBy={(value) => change({ by: value === "tier" ? null : value })}
              by={by}
            />
          </>
        )}
      </Await>
    </>
  );
}

function Totals(props: { data: SavingsData }) {
  const { total, baseline_models: models, assumption } = props.data;
  return (
    <section aria-label="In all" class="stack">
      <Stats>
        <Stat
          label="Saved"
          value={money(total.saved)}
          tone={total.saved < 0 ? "bad" : "main"}
          note={
            total.baseline_cost > 0
              ? `${share(total.saved, total.baseline_cost)} of the top tier's cost`
              : "nothing to compare yet"
          }
        />
        <Stat
          label="Top tier alone"
          value={money(total.baseline_cost)}
          note={`for what cost ${money(total.cost)} as routed`}
        />
        <Stat label="Spent" value={money(total.spent)} note="on all requests, routed or not" />
        <Stat
          label="Learning"
          value={money(total.learning_cost)}
          note="dual runs and judges; in no other number"
        />
        <Stat label="Requests" value={compact(total.requests)} note={routedNote(total)} />
      </Stats>
      <p class="assumption">
        {assumption}
        {models.length > 0 && ` The top tier's model: ${models.join(", ")}.`}
        {total.priced < total.routed &&
          ` ${count(total.routed - total.priced)} of ${count(total.routed)} routed requests are left out: they failed, are still running or have no known price.`}
      </p>
    </section>
  );
}

function routedNote(total: Sums): string {
  return total.requests ? `${share(total.routed, total.requests)} routed by score` : "none in this period";
}

const CHOICES = [
  ["against", "Against the top tier"],
  ["saved", "Saved"],
  ["spent", "Spent"],
  ["requests", "Requests"],
  ["tokens", "Tokens"],
] as const satisfies readonly (readonly [Shown, string])[];

function Chart(props: { data: SavingsData; shown: Shown; onShow: (shown: Shown) => void }) {
  const { tiers } = useMe();
  const of = useMemo(() => savingsOverTime(props.data, props.shown, tiers), [props.data, props.shown, tiers]);
  const title = CHOICES.find(([value]) => value === props.shown)?.[1] ?? "";
  return (
    <Card
      title="Over time"
      actions={
        <Segmented
          label="Shown over time"
          choices={CHOICES}
          value={props.shown}
          onChange={(value) => props.onShow(oneOf(SHOWN, value, "against"))}
        />
      }
    >
      <OverTimeFigure title={`${title}, over time`} of={of}>
        {props.shown === "against" && (
          <span>
            Bars: what priced, routed requests cost. Marks above them: the same tokens at the top tier.
          </span>
        )}
      </OverTimeFigure>
    </Card>
  );
}
