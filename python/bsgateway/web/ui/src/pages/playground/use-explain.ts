import { useEffect, useState } from "preact/hooks";
import type { ExplainAnswer, Explained, ExplainRequest } from "../../api.d.ts";
import { ApiError, post } from "../../lib/api.ts";

const DEBOUNCE_MILLISECONDS = 150;

export interface Explaining {
  /** The newest answer; it stays while the next is on its way. */
  explained: Explained[];
  error: ApiError | null;
  isBusy: boolean;
}

const NOTHING: Explaining = { explained: [], error: null, isBusy: false };

/**
 * What api/explain makes of `request`, asked a moment after it last changed. An older question is given up, so its
 * answer can never take the place of a newer one. `request` needs a stable identity.
 */
export function useExplain(request: ExplainRequest | null): Explaining {
  const [state, setState] = useState<Explaining>(NOTHING);
  useEffect(() => {
    if (request === null) {
      setState(NOTHING);
      return;
    }
    const abort = new AbortController();
    setState((before) => ({ ...before, isBusy: true }));
    const timer = setTimeout(() => void ask(request, abort.signal).then(settle), DEBOUNCE_MILLISECONDS);
    function settle(answer: Explained[] | ApiError | null) {
      if (answer === null || abort.signal.aborted) return;
      setState((before) =>
        answer instanceof ApiError
          ? { ...before, error: answer, isBusy: false }
          : { explained: answer, error: null, isBusy: false },
      );
    }
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [request]);
  return state;
}

/** The answer, or what went wrong; null where the question was given up. */
export async function ask(
  request: ExplainRequest,
  signal: AbortSignal,
): Promise<Explained[] | ApiError | null> {
  try {
    return (await post<ExplainAnswer>("api/explain", request, signal)).explained;
  } catch (error) {
    if (error instanceof ApiError) return error;
    if (error instanceof DOMException && error.name === "AbortError") return null;
    throw error;
  }
}
