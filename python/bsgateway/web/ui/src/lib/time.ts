// Days of a time zone, by the browser's own table of zones.

export interface Wall {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

export type Step = "quarter" | "hour" | "day" | "week" | "month";

const formats = new Map<string, Intl.DateTimeFormat>();

function wallFormat(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formats.set(zone, format);
  }
  return format;
}

/** What clock and calendar of `zone` show at `at`. Throws RangeError for a zone that the browser does not know. */
export function wallOf(at: Date, zone: string): Wall {
  const wall: Wall = { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0 };
  for (const { type, value } of wallFormat(zone).formatToParts(at)) {
    if (type in wall) wall[type as keyof Wall] = Number(value);
  }
  return wall;
}

/** The moment at which clock and calendar of `zone` show `wall`; fields beyond their range carry over (month 13). */
export function momentOf(wall: Wall, zone: string): Date {
  const asUtc = Date.UTC(wall.year, wall.month - 1, wall.day, wall.hour, wall.minute, wall.second);
  // Twice: the offset may differ at the first guess. In the hour that a zone leaves out, the hour after it.
  let moment = asUtc;
  for (let round = 0; round < 2; round++) moment = asUtc - offsetOf(new Date(moment), zone);
  return new Date(moment);
}

function offsetOf(at: Date, zone: string): number {
  const wall = wallOf(at, zone);
  const shown = Date.UTC(wall.year, wall.month - 1, wall.day, wall.hour, wall.minute, wall.second);
  return shown - Math.floor(at.getTime() / 1000) * 1000;
}

/** Where the step of time that begins at `at` ends. Days, weeks and months are those of `zone`. */
export function stepEnd(at: Date, step: Step, zone: string): Date {
  if (step === "quarter") return new Date(at.getTime() + 900_000);
  if (step === "hour") return new Date(at.getTime() + 3_600_000);
  const wall = wallOf(at, zone);
  if (step === "month") wall.month += 1;
  else wall.day += step === "week" ? 7 : 1;
  return momentOf(wall, zone);
}

export function isZone(name: string): boolean {
  try {
    wallFormat(name);
    return true;
  } catch {
    return false;
  }
}

export function browserZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** The zones to choose from: UTC and the browser's first. */
export function zones(): string[] {
  return [...new Set(["UTC", browserZone(), ...Intl.supportedValuesOf("timeZone")])];
}
