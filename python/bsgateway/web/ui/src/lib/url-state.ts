import { useCallback, useMemo } from "preact/hooks";
import { useLocation, useSearch } from "wouter-preact";

/** Changes to the address: null takes a parameter away. */
export type QueryPatch = Record<string, string | null>;

/**
 * The query of the page's address and how to change it. All that a page shows is in there, so that a link shows the
 * same; `replace` leaves no step for the back button, for what changes while one types or drags.
 */
export function useQuery(): [URLSearchParams, (patch: QueryPatch, options?: { replace?: boolean }) => void] {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const query = useMemo(() => new URLSearchParams(search), [search]);
  const change = useCallback(
    (patch: QueryPatch, options: { replace?: boolean } = {}) => {
      navigate(withQuery(path, patched(query, patch)), { replace: options.replace ?? false });
    },
    [query, path, navigate],
  );
  return [query, change];
}

export function patched(query: URLSearchParams, patch: QueryPatch): URLSearchParams {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null || value === "") next.delete(name);
    else next.set(name, value);
  }
  return next;
}

export function withQuery(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** What a link to another page takes along: the period and its zone. */
export function carried(query: URLSearchParams): URLSearchParams {
  const kept = new URLSearchParams();
  for (const name of ["since", "until", "tz"]) {
    const value = query.get(name);
    if (value) kept.set(name, value);
  }
  return kept;
}
