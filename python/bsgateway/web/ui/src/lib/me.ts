import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Me } from "../api.d.ts";

/** Who looks and what is configured; every page stands below its provider. */
export const MeContext = createContext<Me | null>(null);

export function useMe(): Me {
  const me = useContext(MeContext);
  if (!me) throw new Error("useMe outside of the signed-in pages");
  return me;
}
