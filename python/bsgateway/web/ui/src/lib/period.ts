import { browserZone, isZone, momentOf, wallOf } from "./time.ts";

/** The period of the page's address: `since` is a preset ("30d") or a day ("2026-03-01"), `until` the last day. */
export interface PeriodChoice {
  since: string;
  until: string | null;
  zone: string;
}

export const PRESETS: readonly (readonly [value: string, label: string])[] = [
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["90d", "90 days"],
];
export const DEFAULT_SINCE = "30d";

const DAY = /^(\d{4})-(\d{2})-(\d{2})$/;
const SPAN = /^\d{1,4}[hd]$/;

/** Reads `since`, `until` and `tz` of an address. What makes no sense there counts as not given. */
export function readPeriod(query: URLSearchParams, defaultZone: string = browserZone()): PeriodChoice {
  const tz = query.get("tz");
  const zone = tz && isZone(tz) ? tz : defaultZone;
  const since = query.get("since") ?? DEFAULT_SINCE;
  if (SPAN.test(since)) return { since, until: null, zone };
  const until = query.get("until");
  if (isDay(since) && (until === null || (isDay(until) && until >= since))) return { since, until, zone };
  return { since: DEFAULT_SINCE, until: null, zone };
}

export function isCustom(period: PeriodChoice): boolean {
  return DAY.test(period.since);
}

/** The parameters that the API understands: days become the moments at which they begin and end in the zone. */
export function periodQuery(period: PeriodChoice): URLSearchParams {
  const query = new URLSearchParams({ since: period.since, tz: period.zone });
  if (isCustom(period)) {
    query.set("since", dayStart(period.since, 0, period.zone));
    if (period.until) query.set("until", dayStart(period.until, 1, period.zone));
  }
  return query;
}

/** Today, or `back` days before, in `zone`: "2026-03-01". */
export function dayOf(at: Date, zone: string, back = 0): string {
  const wall = wallOf(at, zone);
  return new Date(Date.UTC(wall.year, wall.month - 1, wall.day - back)).toISOString().slice(0, 10);
}

function isDay(text: string): boolean {
  const match = DAY.exec(text);
  if (!match) return false;
  const at = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(text); // no 31st of February
}

function dayStart(day: string, plus: number, zone: string): string {
  const [year, month, date] = day.split("-").map(Number) as [number, number, number];
  const at = momentOf({ year, month, day: date + plus, hour: 0, minute: 0, second: 0 }, zone);
  return at.toISOString().replace(".000Z", "Z");
}
