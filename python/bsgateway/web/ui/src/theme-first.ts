// Runs before anything is drawn, so that a chosen theme does not flash the other one.
import { applyTheme, storedTheme } from "./lib/theme.ts";

applyTheme(storedTheme());
