/** What the presets of lib/settings/presets.ts stand for and where their numbers come from, for docs/settings.md. */
import { type PresetName, presets } from "../lib/settings/presets";

const loadgen = "https://github.com/mlcommons/inference/blob/master/loadgen/mlperf.conf";
const azure = "https://github.com/Azure/AzurePublicDataset/blob/master/AzureLLMInferenceDataset2023.md";
const reports = "https://www.luminal.com/report/deepseek-r1-0528-8xh200";
const checker = "https://github.com/mlcommons/inference/blob/master/tools/submission/submission_checker/constants.py";

/** Said of a length that the source named was not read for. */
const unchecked = "not recomputed from it";

/** What a request of each preset is, and the sources of its lengths and limits. */
const sources: Readonly<Record<PresetName, readonly [what: string, source: string]>> = {
  chat: [
    "a chat's turn",
    `about the mean lengths of [Azure's conversation trace of 2023](${azure}) (${unchecked}), spread as their mean; limits of [MLPerf](${loadgen})'s llama2-70b-interactive`,
  ],
  rag: [
    "a question with retrieved documents",
    `lengths of [Luminal's scenario RAG / QA](${reports}); limits of [MLPerf](${loadgen})'s llama2-70b`,
  ],
  code: [
    "code completion",
    `about the mean lengths of [Azure's code trace of 2023](${azure}) (${unchecked}), spread as their mean; limits of [MLPerf](${loadgen})'s llama3_1-8b-interactive`,
  ],
  summarization: [
    "a summary of an article",
    `about the mean lengths of CNN-DailyMail in [MLPerf's Llama 3.1 8B](https://mlcommons.org/2025/09/small-llm-inference-5-1) (${unchecked}); limits of [MLPerf](${loadgen})'s llama3_1-8b`,
  ],
  reasoning: [
    "a problem, its chain of thought and its answer",
    `mean output length of [MLPerf](${checker})'s deepseek-r1 (3886), exponentially distributed, input about that of [its dataset](https://mlcommons.org/2025/09/deepseek-inference-5-1/) (${unchecked}); limits of [MLPerf](${loadgen})'s deepseek-r1`,
  ],
  agent: [
    "an agent's step with its history",
    `lengths of [Luminal's scenario Agentic](${reports}); limits of [MLPerf](${loadgen})'s llama3_1-405b-interactive`,
  ],
  "mlperf-llama2-70b": [
    "MLPerf Inference, server scenario",
    `mean output length of [its checker](${checker}) (294.45), input taken to be as long (${unchecked}); [limits](${loadgen})`,
  ],
  "mlperf-llama2-70b-interactive": [
    "the same with the limits of the interactive scenario",
    `as above; [limits](${loadgen})`,
  ],
  "mlperf-llama3.1-8b": [
    "MLPerf Inference, server scenario",
    `about the mean lengths of [CNN-DailyMail](https://mlcommons.org/2025/09/small-llm-inference-5-1) (${unchecked}); [limits](${loadgen})`,
  ],
  "mlperf-llama3.1-8b-interactive": [
    "the same with the limits of the interactive scenario",
    `as above; [limits](${loadgen})`,
  ],
  "mlperf-llama3.1-405b": [
    "MLPerf Inference, server scenario",
    `mean output length of [its checker](${checker}) (684.68), input about that of [its dataset](https://mlcommons.org/2025/04/llm-inference-v5) (${unchecked}); [limits](${loadgen})`,
  ],
  "mlperf-llama3.1-405b-interactive": [
    "the same with the limits of the interactive scenario",
    `as above; [limits](${loadgen})`,
  ],
  "mlperf-deepseek-r1": [
    "MLPerf Inference, server scenario",
    `mean output length of [its checker](${checker}) (3886.2), exponentially distributed, input about that of its dataset (${unchecked}); [limits](${loadgen})`,
  ],
  "mlperf-deepseek-r1-interactive": [
    "the same with the limits of the interactive scenario",
    `as above; [limits](${loadgen})`,
  ],
};

/** The presets as a table in Markdown. */
export function presetsMarkdown(): string {
  const rows = Object.entries(presets).map(([name, set]) => {
    const { INPUT_TOKENS: input, OUTPUT_TOKENS: output, SLO_TTFT: ttft, SLO_TPOT: tpot, SLO_PERCENTILE: p } = set;
    const [what, source] = sources[name as PresetName];
    return `| \`${name}\` | ${what} | \`${input}\` | \`${output}\` | ${ttft} | ${tpot} | p${p} | ${source} |`;
  });
  return [
    "## Presets",
    "",
    "`PRESET=chat` makes the lengths and SLOs below the defaults of a run; settings that you give override them. If a source names only a",
    "mean length, lengths are drawn from a lognormal distribution whose standard deviation equals its mean, and for outputs of reasoning",
    "models from an exponential one. Limits are those of MLPerf's server scenario. That sends Poisson arrivals; `RATE` and",
    "`ARRIVAL=poisson` do the same here. A run with a preset is not an MLPerf result: a submission also fixes model, data and rules.",
    "",
    "| preset | a request is | INPUT_TOKENS | OUTPUT_TOKENS | SLO_TTFT | SLO_TPOT | at | sources |",
    "|---|---|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
