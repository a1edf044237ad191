import useSWR from "swr";
import type { Problem } from "../api.d.ts";
import { announce } from "./announce.ts";
import { address } from "./base.ts";
import { LIVE_MILLISECONDS, live } from "./live.ts";
import { session, signOut } from "./session.ts";
import { useStore } from "./store.ts";

/** An answer that is no success, or none at all (`status` 0). */
export class ApiError extends Error {
  readonly status: number;
  readonly problem: Problem;

  constructor(status: number, problem: Problem) {
    super(problem.error);
    this.name = "ApiError";
    this.status = status;
    this.problem = problem;
  }
}

const UNREACHABLE: Problem = {
  error: "The gateway does not answer.",
  remedy: "See whether it still runs, and whether this computer reaches it; then try again.",
  field: null,
};

/** Calls the gateway; `path` is relative to the pages ("api/me"). Throws `ApiError`; a 401 ends the session. */
export async function call<T>(
  path: string,
  init: { method?: string; body?: unknown; signal?: AbortSignal; headers?: Record<string, string> } = {},
): Promise<T> {
  const { key } = session.get();
  const headers: Record<string, string> = { Accept: "application/json", ...init.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  const request: RequestInit = {
    method: init.method ?? "GET",
    headers,
    credentials: "omit",
    cache: "no-store",
  };
  if (init.body !== undefined) {
    headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(init.body);
  }
  if (init.signal) request.signal = init.signal;
  let response: Response;
  try {
    response = await fetch(address(path, document.baseURI), request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, UNREACHABLE);
  }
  if (response.ok) return (await response.json()) as T;
  const failure = new ApiError(response.status, await problemOf(response));
  // Only the key that was refused is forgotten: another may have been given in the meantime.
  if (response.status === 401 && session.get().key === key) signOut(failure.problem.error);
  throw failure;
}

/** Sends `body` as JSON. */
export function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return call<T>(path, signal ? { method: "POST", body, signal } : { method: "POST", body });
}

export interface Loaded<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** Nothing has come yet, or what is shown is of another question. */
  isLoading: boolean;
  isValidating: boolean;
  reload: () => void;
}

/**
 * What GET `path` answers, kept while the next answer is fetched and renewed while the page is live. `name` is what a
 * screen reader says has been loaded; null as `path` fetches nothing.
 */
export function useApi<T>(path: string | null, name: string, options: { live?: boolean } = {}): Loaded<T> {
  const isLive = useStore(live) && options.live !== false;
  const { data, error, isLoading, isValidating, mutate } = useSWR<T, ApiError>(path, call, {
    keepPreviousData: true,
    revalidateOnFocus: false,
    shouldRetryOnError: false,
    refreshInterval: isLive ? LIVE_MILLISECONDS : 0,
    onLoadingSlow: () => announce(`Loading ${name}`),
    onSuccess: () => isLive || announce(`${name} loaded`),
  });
  return { data, error, isLoading, isValidating, reload: () => void mutate() };
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  try {
    const body = JSON.parse(text) as Partial<Problem> & { error?: unknown; detail?: unknown };
    if (typeof body.error === "string") {
      return { error: body.error, remedy: body.remedy ?? "", field: body.field ?? null };
    }
    // LiteLLM's own shape, of the authentication that stands before ours.
    const nested = body.error as { message?: unknown } | undefined;
    if (typeof nested?.message === "string") return { error: nested.message, remedy: "", field: null };
    if (typeof body.detail === "string") return { error: body.detail, remedy: "", field: null };
  } catch {
    // No JSON: something before the gateway answered.
  }
  return {
    error: `The gateway answered ${response.status} ${response.statusText}`.trim(),
    remedy: "Its log says more.",
    field: null,
  };
}
