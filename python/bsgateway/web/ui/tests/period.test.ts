import assert from "node:assert/strict";
import { test } from "node:test";
import { dayOf, periodQuery, readPeriod } from "../src/lib/period.ts";

const read = (query: string) => readPeriod(new URLSearchParams(query), "UTC");

test("an address without a period shows the last 30 days", () => {
  assert.deepEqual(read(""), { since: "30d", until: null, zone: "UTC" });
});

test("presets and days", () => {
  assert.deepEqual(read("since=24h&tz=Asia/Tokyo"), { since: "24h", until: null, zone: "Asia/Tokyo" });
  assert.deepEqual(read("since=2026-03-01&until=2026-03-07"), {
    since: "2026-03-01",
    until: "2026-03-07",
    zone: "UTC",
  });
  assert.deepEqual(read("since=2026-03-01"), { since: "2026-03-01", until: null, zone: "UTC" });
});

test("what makes no sense counts as not given", () => {
  for (const query of [
    "since=tomorrow",
    "since=2026-02-31",
    "since=2026-03-07&until=2026-03-01",
    "since=99999d",
  ]) {
    assert.equal(read(query).since, "30d", query);
  }
  assert.equal(read("tz=Mars/Olympus").zone, "UTC");
  assert.equal(read("since=7d&until=2026-03-01").until, null);
});

test("days go to the API as the moments at which they begin and end in the zone", () => {
  const query = periodQuery({ since: "2026-03-28", until: "2026-03-29", zone: "Europe/Berlin" });
  assert.equal(
    query.toString(),
    "since=2026-03-27T23%3A00%3A00Z&tz=Europe%2FBerlin&until=2026-03-29T22%3A00%3A00Z",
  );
});

test("presets go to the API as they are", () => {
  assert.equal(periodQuery({ since: "7d", until: null, zone: "UTC" }).toString(), "since=7d&tz=UTC");
});

test("today is the zone's", () => {
  const at = new Date("2026-03-01T02:00:00Z");
  assert.equal(dayOf(at, "UTC"), "2026-03-01");
  assert.equal(dayOf(at, "America/Los_Angeles"), "2026-02-28");
  assert.equal(dayOf(at, "UTC", 6), "2026-02-23");
});
