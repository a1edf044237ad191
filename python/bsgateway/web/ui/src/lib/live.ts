import { createStore } from "./store.ts";

export const LIVE_MILLISECONDS = 10_000;

/** Whether the pages fetch their numbers anew by themselves. */
export const live = createStore(false);
