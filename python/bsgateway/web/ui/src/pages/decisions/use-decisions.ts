import { useCallback, useEffect, useReducer, useState } from "preact/hooks";
import useSWR from "swr";
import type { DecisionPage, LogRow } from "../../api.d.ts";
import { announce } from "../../lib/announce.ts";
import { ApiError, call } from "../../lib/api.ts";
import { LIVE_MILLISECONDS, live } from "../../lib/live.ts";
import { useStore } from "../../lib/store.ts";
import { EMPTY, type List, withNewest, withOlder } from "./merge.ts";

type Change =
  | { kind: "newest"; page: LogRow[]; before: string | null; hold: boolean }
  | { kind: "older"; page: LogRow[]; before: string | null };

function changed(list: List, change: Change): List {
  return change.kind === "newest"
    ? withNewest(list, change.page, change.before, change.hold)
    : withOlder(list, change.page, change.before);
}

/**
 * The decisions that `query` asks for, newest first. The newest page is fetched anew while the pages are live. `isBusy`
 * tells, when new rows come, whether somebody reads further down: then they wait until `showNew`.
 */
export function useDecisions(query: string, isBusy: () => boolean) {
  const isLive = useStore(live);
  const [list, change] = useReducer(changed, EMPTY);
  const [older, setOlder] = useState<{ loading: boolean; error: ApiError | null }>({
    loading: false,
    error: null,
  });
  const newest = useSWR<DecisionPage, ApiError>(`api/decisions?${query}`, call, {
    revalidateOnFocus: false,
    shouldRetryOnError: false,
    refreshInterval: isLive ? LIVE_MILLISECONDS : 0,
  });
  const page = newest.data;
  useEffect(() => {
    if (page) change({ kind: "newest", page: page.rows, before: page.before, hold: isBusy() });
  }, [page, isBusy]);
  useEffect(() => {
    if (list.waiting.length > 0) announce(`${list.waiting.length} new decisions`);
  }, [list.waiting.length]);

  const showNew = useCallback(() => {
    if (page) change({ kind: "newest", page: page.rows, before: page.before, hold: false });
  }, [page]);
  const loadOlder = useCallback(async () => {
    if (list.before === null) return;
    setOlder({ loading: true, error: null });
    try {
      const asked = new URLSearchParams(query);
      asked.set("before", list.before);
      const found = await call<DecisionPage>(`api/decisions?${asked}`);
      change({ kind: "older", page: found.rows, before: found.before });
      announce(`${found.rows.length} older decisions loaded`);
      setOlder({ loading: false, error: null });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setOlder({ loading: false, error });
    }
  }, [list.before, query]);

  return {
    list,
    isLoading: page === undefined && newest.error === undefined,
    error: newest.error,
    reload: () => void newest.mutate(),
    showNew,
    loadOlder,
    older,
  };
}
