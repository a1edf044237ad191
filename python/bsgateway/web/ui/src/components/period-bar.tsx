import { useMemo } from "preact/hooks";
import { dayOf, isCustom, PRESETS, periodQuery, readPeriod } from "../lib/period.ts";
import { browserZone, zones } from "../lib/time.ts";
import { useQuery } from "../lib/url-state.ts";
import { Segmented, Select } from "./controls.tsx";

/** The period of the page's address, and as parameters for the API. */
export function usePeriod() {
  const [query] = useQuery();
  return useMemo(() => {
    const period = readPeriod(query);
    return { ...period, api: periodQuery(period) };
  }, [query]);
}

/** Period and time zone, kept in the page's address. */
export function PeriodBar() {
  const [query, change] = useQuery();
  const period = readPeriod(query);
  const custom = isCustom(period);
  const today = dayOf(new Date(), period.zone);
  const choose = (since: string) => {
    if (since === "custom") change({ since: dayOf(new Date(), period.zone, 6), until: today });
    else change({ since, until: null });
  };
  const from = (day: string) => {
    if (day) change({ since: day, until: period.until !== null && period.until < day ? day : period.until });
  };
  const choices = useMemo(() => zones().map((zone) => [zone, zone.replaceAll("_", " ")] as const), []);
  return (
    <section class="period-bar" aria-label="Period">
      <Segmented
        label="Period"
        choices={[...PRESETS, ["custom", "Custom"]]}
        value={custom ? "custom" : period.since}
        onChange={choose}
      />
      {custom && (
        <span class="days">
          <label>
            From
            <input
              type="date"
              value={period.since}
              max={today}
              onChange={(event) => from(event.currentTarget.value)}
            />
          </label>
          <label>
            to
            <input
              type="date"
              value={period.until ?? today}
              min={period.since}
              max={today}
              onChange={(event) => change({ until: event.currentTarget.value || null })}
            />
          </label>
        </span>
      )}
      <Select
        label="Time zone"
        choices={choices}
        value={period.zone}
        onChange={(zone) => change({ tz: zone === browserZone() ? null : zone })}
      />
    </section>
  );
}
