// Numbers and times as the pages show them. The pages speak English, so numbers do too.

import type { Step } from "./time.ts";

const LOCALE = "en-US";
export const NONE = "–";

const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const compactNumber = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 3 });
const cents = new Intl.NumberFormat(LOCALE, { style: "currency", currency: "USD" });
const fractions = new Intl.NumberFormat(LOCALE, {
  style: "currency",
  currency: "USD",
  minimumFractionDigits: 2,
  maximumFractionDigits: 6,
  maximumSignificantDigits: 3,
  roundingPriority: "lessPrecision",
});

export function count(value: number): string {
  return whole.format(value);
}

/** Large numbers in few letters: 1.23M. */
export function compact(value: number): string {
  return Math.abs(value) < 10_000 ? whole.format(value) : compactNumber.format(value);
}

/** US dollars to the cent; below one dollar as many digits as it takes to tell. */
export function money(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  if (size >= 0.995 || size === 0) return cents.format(value);
  if (size < 0.000001) return value < 0 ? "> -$0.000001" : "< $0.000001";
  const digits = fractions.format(value);
  return /\.\d$/.test(digits) ? `${digits}0` : digits; // $0.50: never a lone digit
}

/** As `money`, without cents where there are none: $30. */
export function axisMoney(value: number): string {
  return Number.isInteger(value) ? money(value).replace(/\.00$/, "") : money(value);
}

/** Bytes in the unit that suits. */
export function bytes(value: number): string {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  return `${decimal(value / 1000 ** power, 1)} ${units[power]}`;
}

/** `part` of `of` as a percentage; nothing of nothing is none. */
export function share(part: number, of: number): string {
  if (!of) return NONE;
  return percent(part / of);
}

/** A ratio as a percentage: 0.123 is 12.3%. */
export function percent(ratio: number): string {
  const size = Math.abs(ratio) * 100;
  const digits =
    size === 0 || size >= 99.95 || size >= 10 ? (size >= 10 && size < 99.95 ? 1 : 0) : size >= 1 ? 1 : 2;
  return `${(ratio * 100).toFixed(digits)}%`;
}

/** A number with at most `digits` behind the point. */
export function decimal(value: number, digits = 2): string {
  return new Intl.NumberFormat(LOCALE, { maximumFractionDigits: digits }).format(value);
}

/** Microseconds in the unit that suits: 43 µs, 1.2 ms, 3.4 s. */
export function microseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value < 1000) return `${decimal(value, value < 10 ? 1 : 0)} µs`;
  return milliseconds(value / 1000);
}

/** Milliseconds in the unit that suits. */
export function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value < 1000) return `${decimal(value, value < 10 ? 2 : 0)} ms`;
  if (value < 120_000) return `${decimal(value / 1000, value < 10_000 ? 2 : 1)} s`;
  return `${decimal(value / 60_000, 1)} min`;
}

const timeFormats = new Map<string, Intl.DateTimeFormat>();

function timeFormat(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const id = `${zone} ${JSON.stringify(options)}`;
  let format = timeFormats.get(id);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
    timeFormats.set(id, format);
  }
  return format;
}

/** A moment with its day: 3 Mar 2026, 14:05:09. */
export function moment(at: string | Date, zone: string, seconds = false): string {
  const options: Intl.DateTimeFormatOptions = {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  };
  if (seconds) options.second = "2-digit";
  return timeFormat(zone, options).format(new Date(at));
}

export function clock(at: string | Date, zone: string): string {
  return timeFormat(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(at));
}

/** A step of time as a row of a table names it. */
export function stepName(at: Date, step: Step, zone: string): string {
  if (step === "month") return timeFormat(zone, { month: "long", year: "numeric" }).format(at);
  if (step === "day" || step === "week") {
    const day = timeFormat(zone, {
      weekday: "short",
      day: "numeric",
      month: "short",
      year: "numeric",
    }).format(at);
    return step === "week" ? `Week of ${day}` : day;
  }
  return timeFormat(zone, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(at);
}

/** A step of time as an axis names it, in few letters. */
export function tickName(at: Date, step: Step, zone: string): string {
  if (step === "month") return timeFormat(zone, { month: "short", year: "2-digit" }).format(at);
  if (step === "day" || step === "week")
    return timeFormat(zone, { day: "numeric", month: "short" }).format(at);
  return timeFormat(zone, { hour: "2-digit", minute: "2-digit" }).format(at);
}
