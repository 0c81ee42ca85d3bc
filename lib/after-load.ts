/** What every test needs once, after its load: see lazy.ts. */
export * from "./figures/steady";
export * from "./figures/table";
export * from "./figures/trend";
export { concludeRun } from "./outcome/summary-files";
