/** What setup(), teardown() and handleSummary() need beside the settings that the first VU has read: see lazy.ts. */
export * from "./figures/computed-gauges";
export { requestsIn } from "./figures/gauge-names";
export { loadConflict, meetOptions } from "./load/load-options";
export { findModel } from "./wire/model-name";
export { metricsPages, openPolled } from "./wire/polled";
export { findTemplateTokens, findTokensPerWord } from "./wire/tokenizer";
