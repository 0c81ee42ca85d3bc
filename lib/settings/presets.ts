/** Workloads by name: lengths and limits as settings, as a user would write them. build/presets.ts has their sources. Pure. */

const limits = (ttftMs: number, tpotMs: number) => ({
  SLO_TTFT: String(ttftMs),
  SLO_TPOT: String(tpotMs),
  // MLPerf's servers are judged by the 99th percentile.
  SLO_PERCENTILE: "99",
});

const lengths = (input: string, output: string) => ({ INPUT_TOKENS: input, OUTPUT_TOKENS: output });

/** What each preset sets, in the order in which documentation lists them. What the user sets counts for more. */
export const presets = {
  chat: { ...lengths("lognormal:1155:1155", "lognormal:211:211"), ...limits(450, 40) },
  rag: { ...lengths("4096", "256"), ...limits(2000, 200) },
  code: { ...lengths("lognormal:2048:2048", "lognormal:28:28"), ...limits(500, 30) },
  summarization: { ...lengths("778", "73"), ...limits(2000, 100) },
  reasoning: { ...lengths("800", "exponential:3886"), ...limits(2000, 80) },
  agent: { ...lengths("16384", "256"), ...limits(4500, 80) },
  "mlperf-llama2-70b": { ...lengths("lognormal:294:294", "lognormal:294:294"), ...limits(2000, 200) },
  "mlperf-llama2-70b-interactive": { ...lengths("lognormal:294:294", "lognormal:294:294"), ...limits(450, 40) },
  "mlperf-llama3.1-8b": { ...lengths("778", "73"), ...limits(2000, 100) },
  "mlperf-llama3.1-8b-interactive": { ...lengths("778", "73"), ...limits(500, 30) },
  "mlperf-llama3.1-405b": { ...lengths("lognormal:9400:9400", "lognormal:685:685"), ...limits(6000, 175) },
  "mlperf-llama3.1-405b-interactive": { ...lengths("lognormal:9400:9400", "lognormal:685:685"), ...limits(4500, 80) },
  "mlperf-deepseek-r1": { ...lengths("800", "exponential:3886"), ...limits(2000, 80) },
  "mlperf-deepseek-r1-interactive": { ...lengths("800", "exponential:3886"), ...limits(1500, 15) },
} as const;

/** A preset's name. */
export type PresetName = keyof typeof presets;

export const presetNames = Object.keys(presets) as PresetName[];
