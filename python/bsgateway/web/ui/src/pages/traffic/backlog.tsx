import type { Me } from "../../api.d.ts";
import { Card, Stat, Stats } from "../../components/card.tsx";
import { Notice } from "../../components/status.tsx";
import { useApi } from "../../lib/api.ts";
import { bytes, compact, count, milliseconds } from "../../lib/format.ts";

/** What the log has yet to write: of the worker that answers, for admins. */
export function Backlog() {
  const { data: me } = useApi<Me>("api/me", "Log");
  const log = me?.backlog;
  if (!log) return null;
  const waiting = log.queued + log.spooled_rows;
  return (
    <Card
      title="Log"
      note="Of the worker that answered this, since its start. Rows that wait are in no number above."
    >
      {log.circuit === "open" && (
        <Notice tone="warn">
          The database takes nothing at the moment{log.last_error && ` (${log.last_error})`}; rows wait on
          disk.
        </Notice>
      )}
      <Stats>
        <Stat
          label="Waiting"
          value={count(waiting)}
          note={`${count(log.queued)} in memory, ${count(log.spooled_rows)} on disk`}
        />
        <Stat
          label="Oldest"
          value={log.oldest_seconds === null ? "–" : milliseconds(log.oldest_seconds * 1000)}
          note="age of the oldest row that waits"
        />
        <Stat label="On disk" value={bytes(log.spooled_bytes)} note="of rows that wait" />
        <Stat label="Written" value={compact(log.written)} note="rows that the database has" />
        <Stat
          label="Lost"
          value={count(log.dropped)}
          {...(log.dropped > 0 ? { tone: "bad" as const } : {})}
          note={log.dropped > 0 ? "the gateway's log says why" : "none"}
        />
      </Stats>
    </Card>
  );
}
