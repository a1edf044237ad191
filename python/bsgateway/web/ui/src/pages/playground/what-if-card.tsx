import { useEffect, useMemo, useState } from "preact/hooks";
import type { WhatIf } from "../../api.d.ts";
import { Card, Stat, Stats } from "../../components/card.tsx";
import { Segmented } from "../../components/controls.tsx";
import { Moment } from "../../components/moment.tsx";
import { usePeriod } from "../../components/period-bar.tsx";
import { Await, Notice } from "../../components/status.tsx";
import { announce } from "../../lib/announce.ts";
import { useApi } from "../../lib/api.ts";
import { count, decimal, money, percent } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";
import { useQuery } from "../../lib/url-state.ts";
import { type Applied, applied, shifted } from "../../whatif.ts";
import { BorderPlot } from "./border-plot.tsx";
import { costChange } from "./change-text.ts";
import { Lines } from "./lines.tsx";
import { WhatIfTable, withFixed } from "./what-if-table.tsx";

const DAYS = ["1", "7", "30"] as const;

/** Other borders and another bias, tried on the log of the last days. Nothing is saved. */
export function WhatIfCard() {
  const { admin, log } = useMe();
  const [query, change] = useQuery();
  const days = DAYS.find((each) => each === query.get("days")) ?? "7";
  const isThere = admin && log !== "off";
  const loaded = useApi<WhatIf>(isThere ? `api/what-if?days=${days}` : null, "What if", { live: false });
  return (
    <Card
      title="What if"
      note="Move the borders between the tiers, or the bias, and see what the requests of the last days would have cost. Nothing is saved."
      wide
      actions={
        isThere && (
          <Segmented
            label="Days of the log"
            choices={DAYS.map((each) => [each, each === "1" ? "1 day" : `${each} days`] as const)}
            value={days}
            onChange={(value) => change({ days: value === "7" ? null : value })}
          />
        )
      }
    >
      {isThere ? (
        <Await of={loaded} name="the log">
          {(whatIf) => <Trial key={`${whatIf.since} ${whatIf.until}`} whatIf={whatIf} />}
        </Await>
      ) : (
        <p class="empty">
          {admin
            ? "There is no log to try it on: routing.collector.enabled is off."
            : "Only an admin's key may see this."}
        </p>
      )}
    </Card>
  );
}

function Trial(props: { whatIf: WhatIf }) {
  const { whatIf } = props;
  const [borders, setBorders] = useState<readonly number[]>(whatIf.borders);
  const [bias, setBias] = useState(whatIf.bias);
  const now = useMemo(() => applied(whatIf, whatIf.borders, whatIf.bias), [whatIf]);
  const then = useMemo(() => applied(whatIf, borders, bias), [whatIf, borders, bias]);
  const counts = useMemo(() => shifted(whatIf, bias), [whatIf, bias]);
  const isChanged = bias !== whatIf.bias || borders.some((border, at) => border !== whatIf.borders[at]);
  useSpokenCost(withFixed(then, whatIf), withFixed(now, whatIf), isChanged);
  if (whatIf.requests.length === 0) {
    return <p class="empty">The log has no requests of these days yet. Send some, or take a longer time.</p>;
  }
  const reset = () => {
    setBorders(whatIf.borders);
    setBias(whatIf.bias);
  };
  return (
    <div class="stack what-if">
      <Sums whatIf={whatIf} now={now} then={then} />
      <BorderPlot
        tiers={whatIf.tiers}
        counts={counts}
        borders={borders}
        now={whatIf.borders}
        onChange={setBorders}
      />
      <BiasDial bias={bias} now={whatIf.bias} onChange={setBias} />
      <p>
        <button type="button" onClick={reset} disabled={!isChanged}>
          Back to how it is
        </button>
      </p>
      <WhatIfTable whatIf={whatIf} borders={borders} now={now} then={then} />
      <Assumed whatIf={whatIf} />
      {isChanged && <Lines borders={borders} bias={bias} />}
    </div>
  );
}

function Sums(props: { whatIf: WhatIf; now: Applied; then: Applied }) {
  const { whatIf, now, then } = props;
  const [was, is] = [withFixed(now, whatIf), withFixed(then, whatIf)];
  const top = then.tiers.at(-1);
  return (
    <Stats>
      <Stat label="Cost now" value={money(was)} />
      <Stat label="Cost then" value={money(is)} />
      <Stat label="Difference" value={costChange(is, was)} {...toneOf(is, was)} />
      <Stat label="In another tier" value={count(then.moved)} note="requests" />
      {top && (
        <Stat
          label={`Goes to ${top.tier}`}
          value={percent(top.share)}
          note={`of the requests that go by score; ${percent(now.tiers.at(-1)?.share ?? 0)} now`}
        />
      )}
    </Stats>
  );
}

function toneOf(is: number | null, was: number | null): { tone?: "good" | "bad" } {
  if (is === null || was === null || is === was) return {};
  return { tone: is < was ? "good" : "bad" };
}

function BiasDial(props: { bias: number; now: number; onChange: (bias: number) => void }) {
  const { bias, now, onChange } = props;
  const text = `${bias > 0 ? "+" : ""}${bias}`;
  return (
    <div class="bias">
      <label for="what-if-bias">
        Bias <output class="bias-value">{text}</output>
      </label>
      <input
        id="what-if-bias"
        type="range"
        min={-100}
        max={100}
        step={1}
        value={bias}
        aria-describedby="what-if-bias-note"
        onInput={(event) => onChange(Number(event.currentTarget.value))}
      />
      <p class="note" id="what-if-bias-note">
        Added to every score: to the left leans cheap, to the right dear. Now {now > 0 ? `+${now}` : now}.
      </p>
    </div>
  );
}

function Assumed(props: { whatIf: WhatIf }) {
  const { whatIf } = props;
  const { zone } = usePeriod();
  return (
    <Notice>
      <p>
        <strong>What is assumed.</strong> Requests from <Moment at={whatIf.since} zone={zone} /> to{" "}
        <Moment at={whatIf.until} zone={zone} />, scored by {whatIf.strategy}
        {whatIf.sampled && `; only the newest were read, which stand for ${decimal(whatIf.days, 1)} days`}.
      </p>
      <ul class="plain-list">
        {whatIf.left_out > 0 && <li>{count(whatIf.left_out)} requests are left out.</li>}
        {whatIf.notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
      </ul>
    </Notice>
  );
}

/** Tells a screen reader the difference, once the hand has rested. */
function useSpokenCost(then: number | null, now: number | null, isChanged: boolean): void {
  useEffect(() => {
    if (!isChanged) return;
    const timer = setTimeout(() => announce(`Cost ${money(then)}, ${costChange(then, now)} to now`), 600);
    return () => clearTimeout(timer);
  }, [then, now, isChanged]);
}
