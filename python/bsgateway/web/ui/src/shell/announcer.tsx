import { announcement } from "../lib/announce.ts";
import { useStore } from "../lib/store.ts";

export function Announcer() {
  const text = useStore(announcement);
  return (
    <div class="visually-hidden" role="status" aria-live="polite">
      {text}
    </div>
  );
}
