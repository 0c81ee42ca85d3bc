/** What is needed once a run, after its load: see lazy.ts. */
export { capacityResults } from "./figures/capacity-lines";
export { curveText } from "./figures/curve";
export { driftLimits, driftText } from "./figures/drift";
export { burstTable, phaseFigures, rampLines, requestFigures, secondsCsv } from "./figures/figures";
export { ingestionText } from "./figures/ingestion";
export { sessionTables } from "./figures/session-tables";
export { togetherLine } from "./figures/together";
export { concludeRun } from "./outcome/summary-files";
