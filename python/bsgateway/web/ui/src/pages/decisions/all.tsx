import { useMemo, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import type { Filters } from "../../api.d.ts";
import { PeriodBar, usePeriod } from "../../components/period-bar.tsx";
import { Notice } from "../../components/status.tsx";
import { useApi } from "../../lib/api.ts";
import { useMe } from "../../lib/me.ts";
import { useQuery, withQuery } from "../../lib/url-state.ts";
import { PageTitle } from "../../shell/page-title.tsx";
import { FilterBar } from "./filter-bar.tsx";
import { listQuery, readSearch } from "./filters.ts";
import { DecisionList } from "./list.tsx";

/** All decisions, newest first. */
export function AllDecisions() {
  const me = useMe();
  const [query] = useQuery();
  const { zone } = usePeriod();
  const asked = useMemo(() => listQuery(query).toString(), [query]);
  const filters = useApi<Filters>(me.log === "off" ? null : "api/filters", "filters", { live: false });
  const reasons = useMemo(
    () => new Map(filters.data?.reasons.map(({ value, doc }) => [value, doc] as const)),
    [filters.data],
  );
  return (
    <>
      <PageTitle title="Decisions" lead={LEAD}>
        <SearchForm />
      </PageTitle>
      {me.log === "off" ? (
        <Notice>
          There is no log to read from: <code>routing.collector.enabled</code> is off. The header{" "}
          <code>x-bsgateway-reason</code> of an answer still says why its model was chosen.
        </Notice>
      ) : (
        <>
          <PeriodBar />
          <FilterBar filters={filters.data} />
          <DecisionList key={asked} query={asked} zone={zone} reasons={reasons} />
        </>
      )}
    </>
  );
}

const LEAD = "Every request, which model answered it and why. The time of a row opens its whole story.";

/** Finds a decision by its id, or the decisions of a call. */
function SearchForm() {
  const [text, setText] = useState("");
  const [query, change] = useQuery();
  const [, navigate] = useLocation();
  const go = (event: Event) => {
    event.preventDefault();
    const found = readSearch(text);
    if (!found) return;
    setText("");
    if ("decision" in found) navigate(withQuery(`/decisions/${found.decision}`, query));
    else change({ call_id: found.call });
  };
  return (
    <search>
      <form class="search" onSubmit={go}>
        <label for="decision-search">Find by id</label>
        <input
          id="decision-search"
          type="search"
          aria-label="Find by id"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          placeholder="x-bsgateway-decision-id, or a call id"
          spellcheck={false}
          autocomplete="off"
          maxLength={600}
        />
        <button type="submit">Find</button>
      </form>
    </search>
  );
}
