import assert from "node:assert/strict";
import { test } from "node:test";
import { isZone, momentOf, stepEnd, wallOf } from "../src/lib/time.ts";

const midnight = (year: number, month: number, day: number) => ({
  year,
  month,
  day,
  hour: 0,
  minute: 0,
  second: 0,
});

test("a day begins when the zone's clock says so", () => {
  assert.equal(momentOf(midnight(2026, 1, 15), "UTC").toISOString(), "2026-01-15T00:00:00.000Z");
  assert.equal(momentOf(midnight(2026, 7, 15), "Europe/Berlin").toISOString(), "2026-07-14T22:00:00.000Z");
  assert.equal(momentOf(midnight(2026, 1, 15), "Asia/Kathmandu").toISOString(), "2026-01-14T18:15:00.000Z");
  assert.equal(
    momentOf(midnight(2026, 1, 15), "Pacific/Kiritimati").toISOString(),
    "2026-01-14T10:00:00.000Z",
  );
});

test("wall and moment are each other's way back, across the changes of a year", () => {
  for (const zone of ["America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Sao_Paulo"]) {
    for (let day = 0; day < 365; day++) {
      const at = new Date(Date.UTC(2026, 0, 1 + day, 12));
      assert.equal(momentOf(wallOf(at, zone), zone).getTime(), at.getTime(), `${zone} ${at.toISOString()}`);
    }
  }
});

test("the days of a change of the clock have 23 and 25 hours", () => {
  const hours = (day: Date) => (stepEnd(day, "day", "Europe/Berlin").getTime() - day.getTime()) / 3_600_000;
  assert.equal(hours(momentOf(midnight(2026, 3, 29), "Europe/Berlin")), 23);
  assert.equal(hours(momentOf(midnight(2026, 10, 25), "Europe/Berlin")), 25);
  assert.equal(hours(momentOf(midnight(2026, 10, 26), "Europe/Berlin")), 24);
});

test("steps end where the next begins", () => {
  const at = new Date("2026-01-31T23:00:00Z"); // the 1st of February in Berlin
  assert.equal(stepEnd(at, "month", "Europe/Berlin").toISOString(), "2026-02-28T23:00:00.000Z");
  assert.equal(stepEnd(at, "week", "Europe/Berlin").toISOString(), "2026-02-07T23:00:00.000Z");
  assert.equal(stepEnd(at, "hour", "Europe/Berlin").toISOString(), "2026-02-01T00:00:00.000Z");
  assert.equal(stepEnd(at, "quarter", "Europe/Berlin").toISOString(), "2026-01-31T23:15:00.000Z");
});

test("zones that nobody knows", () => {
  assert.equal(isZone("Europe/Berlin"), true);
  assert.equal(isZone("Mars/Olympus"), false);
  assert.equal(isZone(""), false);
});
