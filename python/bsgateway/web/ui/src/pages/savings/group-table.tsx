import { useMemo } from "preact/hooks";
import type { Group, Savings } from "../../api.d.ts";
import { Fill } from "../../components/bar-table.tsx";
import { Card } from "../../components/card.tsx";
import { Segmented } from "../../components/controls.tsx";
import { type Column, DataTable, plain } from "../../components/data-table.tsx";
import { ExportButtons } from "../../components/export-buttons.tsx";
import { TierTag } from "../../components/tier-tag.tsx";
import { ToDecisions } from "../../components/to-decisions.tsx";
import { compact, count, money, share } from "../../lib/format.ts";
import { BY, type By, NAMELESS, oneOf } from "../../lib/savings-over-time.ts";

const CHOICES = [
  ["tier", "Tier"],
  ["model", "Model"],
  ["key", "Key"],
  ["team", "Team"],
  ["day", "Day"],
] as const satisfies readonly (readonly [By, string])[];

/** The sums of each tier, model, key, team or day. */
export function GroupTable(props: { data: Savings; by: By; onBy: (by: By) => void }) {
  const { data } = props;
  const columns = useMemo(() => columnsOf(data), [data]);
  const name = `bsgateway-savings-by-${data.by}-${data.period.since.slice(0, 10)}`;
  return (
    <Card
      title={`By ${data.by}`}
      note="Saved is the top tier alone less routed. Tokens are as the provider counted them; cache reads are part of the prompt."
      actions={
        <>
          <Segmented
            label="Group by"
            choices={CHOICES}
            value={props.by}
            onChange={(value) => props.onBy(oneOf(BY, value, "tier"))}
          />
          <ExportButtons name={name} table={() => plain(columns, data.groups)} />
        </>
      }
    >
      <DataTable
        caption={`Sums by ${data.by}`}
        columns={columns}
        rows={data.groups}
        rowKey={(group) => group.name ?? ""}
        total={{ name: null, label: TOTAL, sums: data.total }}
        empty="No requests in this period."
      />
    </Card>
  );
}

const TOTAL = "All";

function columnsOf(data: Savings): Column<Group>[] {
  const { total, by } = data;
  const named = (group: Group) => group.label ?? group.name ?? NAMELESS[by];
  return [
    { name: by, value: named, cell: (group) => <Name group={group} by={by} name={named(group)} /> },
    {
      name: "requests",
      numeric: true,
      value: ({ sums }) => sums.requests,
      cell: ({ sums }) => count(sums.requests),
    },
    {
      name: "share",
      numeric: true,
      hint: "Of all requests",
      value: ({ sums }) => ratio(sums.requests, total.requests),
      cell: ({ sums, label }) => (
        <>
          {share(sums.requests, total.requests)}
          {label !== TOTAL && <Fill ratio={sums.requests / Math.max(total.requests, 1)} />}
        </>
      ),
    },
    {
      name: "spent",
      numeric: true,
      hint: "All known cost",
      value: ({ sums }) => sums.spent,
      cell: ({ sums }) => money(sums.spent),
    },
    {
      name: "routed",
      numeric: true,
      hint: "What the requests cost that were routed by score and have known prices: top tier alone, less this, is saved",
      value: ({ sums }) => sums.cost,
      cell: ({ sums }) => money(sums.cost),
    },
    {
      name: "top tier alone",
      numeric: true,
      hint: "The same tokens of routed, priced requests at the top tier's first model",
      value: ({ sums }) => sums.baseline_cost,
      cell: ({ sums }) => money(sums.baseline_cost),
    },
    { name: "saved", numeric: true, value: ({ sums }) => sums.saved, cell: ({ sums }) => money(sums.saved) },
    {
      name: "saved share",
      numeric: true,
      hint: "Of what the top tier alone would have cost",
      value: ({ sums }) => ratio(sums.saved, sums.baseline_cost),
      cell: ({ sums }) => share(sums.saved, sums.baseline_cost),
    },
    {
      name: "prompt tokens",
      numeric: true,
      value: ({ sums }) => sums.prompt_tokens,
      cell: ({ sums }) => compact(sums.prompt_tokens),
    },
    {
      name: "answer tokens",
      numeric: true,
      value: ({ sums }) => sums.completion_tokens,
      cell: ({ sums }) => compact(sums.completion_tokens),
    },
    {
      name: "cache reads",
      numeric: true,
      hint: "Prompt tokens that the provider read from its cache",
      value: ({ sums }) => sums.cache_read_tokens,
      cell: ({ sums }) => (
        <>
          {compact(sums.cache_read_tokens)}{" "}
          <span class="faint">
            {sums.cache_read_tokens > 0 && share(sums.cache_read_tokens, sums.prompt_tokens)}
          </span>
        </>
      ),
    },
    {
      name: "failed",
      numeric: true,
      value: ({ sums }) => sums.failed,
      cell: ({ sums }) => count(sums.failed),
    },
  ];
}

function Name(props: { group: Group; by: By; name: string }) {
  const { group, by, name } = props;
  if (group.name === null || by === "team" || by === "day") return <>{name}</>;
  return (
    <ToDecisions filter={by} value={group.name}>
      <Named group={group} by={by} />
    </ToDecisions>
  );
}

function Named(props: { group: Group; by: By }) {
  const { label, name } = props.group;
  if (name === null) return null;
  if (props.by === "tier") return <TierTag tier={name} />;
  if (props.by === "key" && label === null) return <code>{name.slice(0, 12)}…</code>;
  return <>{label ?? name}</>;
}

function ratio(part: number, of: number): number | null {
  return of === 0 ? null : Math.round((part / of) * 1e6) / 1e6;
}
