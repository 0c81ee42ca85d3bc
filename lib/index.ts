/** What a load test imports. */

export { arrivals, traceReplay } from "./load/arrivals";
export { type Burst, batchBursts, bursts, burstsOf } from "./load/bursts";
export { curve } from "./load/curve";
export { type Between, type Level, lengthLabels, levels, levelsOf } from "./load/levels";
export { classes, mix, type TestClass } from "./load/mix";
export { search } from "./load/probing";
export { resetAndRest } from "./load/reset";
export { conversations } from "./load/sessions";
export type { Load, RunOptions, Send, Shape } from "./load/shape";
export { soak } from "./load/soak";
export { type Conversation, type Reply, type User, users } from "./load/users";
export { openTest, type Test, type TestRequest } from "./open-test";
export { ingestionText, phaseFigures } from "./outcome/printed";
export { repliesWhole } from "./settings/apis";
export { type Config, demand } from "./settings/config";
export type { ClientSettings } from "./settings/own-client";
export type { WireDescription } from "./settings/wire-description";
export type { RequestOptions } from "./wire/llm-client";
export { openTexts } from "./workload/texts";
