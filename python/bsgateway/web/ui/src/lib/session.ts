import { createStore } from "./store.ts";

// Of this tab only, and gone with it. No cookie: nothing is ever sent that no script here put there.
const PLACE = "bsgateway.key";

function remembered(): string | null {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null; // storage is forbidden here: the key lives as long as the page
  }
}

export interface Session {
  key: string | null;
  /** Why the key is asked for again. */
  refused: string | null;
}

export const session = createStore<Session>({ key: remembered(), refused: null });

export function signIn(key: string): void {
  try {
    sessionStorage.setItem(PLACE, key);
  } catch {
    // as above
  }
  session.set({ key, refused: null });
}

/** Forgets the key. With `refused`, the form that asks for one says why. */
export function signOut(refused: string | null = null): void {
  try {
    sessionStorage.removeItem(PLACE);
  } catch {
    // as above
  }
  session.set({ key: null, refused });
}
