import { useEffect, useState } from "preact/hooks";

import type { SettingLines, SettingRequest } from "../../api.d.ts";
import { CopyButton } from "../../components/copy-button.tsx";
import { ErrorNote } from "../../components/status.tsx";
import { ApiError, post } from "../../lib/api.ts";

const DEBOUNCE_MILLISECONDS = 250;

/** What to write into gateway.yaml for the borders and the bias that are tried. */
export function Lines(props: { borders: readonly number[]; bias: number }) {
  const { borders, bias } = props;
  const [lines, setLines] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    const asked: SettingRequest = { borders: [...borders], bias };
    const timer = setTimeout(async () => {
      try {
        const answer = await post<SettingLines>("api/what-if/lines", asked, abort.signal);
        setLines(answer.yaml);
        setError(null);
      } catch (trouble) {
        if (abort.signal.aborted) return;
        if (!(trouble instanceof ApiError)) throw trouble;
        setError(trouble);
      }
    }, DEBOUNCE_MILLISECONDS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [borders, bias]);
  if (error) return <ErrorNote error={error} />;
  if (lines === null) return null;
  return (
    <section class="yaml-lines" aria-label="Lines for gateway.yaml">
      <div class="yaml-head">
        <h3>To keep it, write this into gateway.yaml</h3>
        <CopyButton text={() => lines} what="YAML lines" />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard */}
      <pre class="raw" tabIndex={0}>
        {lines}
      </pre>
    </section>
  );
}
