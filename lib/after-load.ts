/** What every test needs once, after its load: see lazy.ts. */
export { concludeRun } from "./outcome/summary-files";
