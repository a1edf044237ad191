import { useId, useState } from "preact/hooks";
import type { Filters, Option } from "../../api.d.ts";
import { type Choice, Select } from "../../components/controls.tsx";
import { useMe } from "../../lib/me.ts";
import { type QueryPatch, useQuery } from "../../lib/url-state.ts";
import { activeFilters, FILTERS, type FilterName } from "./filters.ts";

const YES_NO: readonly Choice[] = [
  ["", "Any"],
  ["true", "Yes"],
  ["false", "No"],
];
const STATUS: readonly Choice[] = [
  ["", "Any"],
  ["success", "Answered"],
  ["failure", "Failed"],
  ["pending", "No answer yet"],
];
const RARE: readonly FilterName[] = [
  "method",
  "strategy",
  "fell_back",
  "applied",
  "key",
  "conversation",
  "call_id",
];

/** What narrows the list, kept in the page's address. */
export function FilterBar(props: { filters: Filters | undefined }) {
  const [query, change] = useQuery();
  const { admin } = useMe();
  const active = activeFilters(query);
  const { filters } = props;
  const select = (name: FilterName, label: string, choices: readonly Choice[]) => (
    <Select
      label={label}
      choices={choices}
      value={query.get(name) ?? ""}
      onChange={(value) => change({ [name]: value || null })}
    />
  );
  const field = (name: FilterName, label: string, placeholder: string) => (
    <TextFilter
      key={`${name} ${query.get(name) ?? ""}`}
      label={label}
      placeholder={placeholder}
      value={query.get(name) ?? ""}
      onChange={(value) => change({ [name]: value || null })}
    />
  );
  return (
    <section class="filters" aria-label="Filters">
      {select("tier", "Tier", choices(filters?.tiers, query.get("tier"), String))}
      {select("model", "Model", choices(filters?.models, query.get("model"), String))}
      {select("reason", "Reason", choices(filters?.reasons, query.get("reason"), String))}
      {select("status", "Status", STATUS)}
      <details class="more-filters" open={active.some((name) => RARE.includes(name))}>
        <summary>More filters</summary>
        <div class="filters">
          {select("method", "Method", choices(filters?.methods, query.get("method"), String))}
          {select("strategy", "Strategy", choices(filters?.strategies, query.get("strategy"), String))}
          {select("fell_back", "Fell back", YES_NO)}
          {select("applied", "Rewritten", YES_NO)}
          {admin && field("key", "Key", "alias or hash")}
          {field("conversation", "Conversation", "its hash")}
          {field("call_id", "Call id", "x-litellm-call-id")}
        </div>
      </details>
      {active.length > 0 && (
        <button type="button" class="quiet" onClick={() => change(none())}>
          Clear {active.length === 1 ? "the filter" : `${active.length} filters`}
        </button>
      )}
    </section>
  );
}

/** A text that counts once it is entered or left, not at each letter. */
function TextFilter(props: {
  label: string;
  placeholder: string;
  value: string;
  onChange: (value: string) => void;
}) {
  const id = useId();
  const [text, setText] = useState(props.value);
  const done = () => text.trim() !== props.value && props.onChange(text.trim());
  return (
    <span class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        value={text}
        placeholder={props.placeholder}
        spellcheck={false}
        maxLength={512}
        onInput={(event) => setText(event.currentTarget.value)}
        onBlur={done}
        onKeyDown={(event) => event.key === "Enter" && done()}
      />
    </span>
  );
}

/** The words of a closed list; one of an old link that is no more in it stays to be seen and taken away. */
function choices(
  options: readonly Option[] | undefined,
  chosen: string | null,
  named: (value: string) => string,
) {
  const listed = (options ?? []).map(({ value }): Choice => [value, named(value)]);
  const known = chosen === null || listed.some(([value]) => value === chosen);
  return [["", "Any"] as Choice, ...listed, ...(known ? [] : [[chosen, named(chosen)] as Choice])];
}

function none(): QueryPatch {
  return Object.fromEntries(FILTERS.map((name) => [name, null]));
}
