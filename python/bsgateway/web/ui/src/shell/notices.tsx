import type { Me } from "../api.d.ts";
import { Notice } from "../components/status.tsx";

/** What an operator has to know before any number: that routing only watches, or that there is no log. */
export function ModeNotices(props: { me: Me }) {
  const { me } = props;
  return (
    <>
      {me.mode === "shadow" && (
        <Notice tone="warn">
          <strong>Shadow mode.</strong> Requests go on as they came; decisions are logged, and nothing is
          saved yet. Set <code>routing.mode: route</code> to route by them.
        </Notice>
      )}
      {me.mode === "route" && me.canary !== "100%" && (
        <Notice>
          <strong>Canary.</strong> {me.canary} of the conversations are routed; the others go on as they came,
          and their decisions are only logged.
        </Notice>
      )}
      {me.log === "off" && (
        <Notice tone="warn">
          <strong>No log.</strong> No database is configured, so there is nothing to add up. Set{" "}
          <code>routing.collector.enabled: true</code> and a <code>database_url</code>.
        </Notice>
      )}
      {me.log === "down" && (
        <Notice tone="warn">
          <strong>The log's database does not answer.</strong> Requests are served all the same, and their
          rows wait on disk. <code>bsgateway doctor</code> says what is wrong.
        </Notice>
      )}
      {!me.admin && <p class="scope">Numbers are about your own key's requests only.</p>}
    </>
  );
}
