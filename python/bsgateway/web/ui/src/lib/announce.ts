import { createStore } from "./store.ts";

/** What the live region of the shell says to a screen reader. */
export const announcement = createStore("");

export function announce(text: string): void {
  announcement.set(text);
}
