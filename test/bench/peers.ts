import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Load } from "./cases";
import type { Latency, Measured } from "./figures";

/**
 * Writes the files of a tokenizer that knows a thousand words and the space between them. Peers make their prompts with
 * a tokenizer; this one saves the download of a real one, and the server's answers do not depend on it.
 */
export function writeTokenizer(dir: string): void {
  const special = ["<unk>", "<s>", "</s>"];
  const words = Array.from({ length: 1000 }, (_, i) => `w${i}`);
  const vocab = Object.fromEntries([...special, ...words].map((word, id) => [word, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab, unk_token: "<unk>" },
  };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    unk_token: "<unk>",
    bos_token: "<s>",
    eos_token: "</s>",
  };
  mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(dir, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(path.join(dir, "tokenizer_config.json"), JSON.stringify(config));
  // Some loaders ask for a model's type before they look at the tokenizer's.
  writeFileSync(path.join(dir, "config.json"), JSON.stringify({ model_type: "gpt2" }));
}

/** What a peer is asked to do: a closed load of chat completions. */
export interface PeerRun {
  /** http://127.0.0.1:PORT */
  readonly origin: string;
  readonly load: Load;
  /** Folder of writeTokenizer. */
  readonly tokenizer: string;
  /** Where the result goes. */
  readonly file: string;
}

/** The arguments behind `vllm`. */
export function vllmArguments({ origin, load, tokenizer, file }: PeerRun): string[] {
  return [
    ...["bench", "serve", "--backend", "openai-chat", "--base-url", origin, "--endpoint", "/v1/chat/completions"],
    ...["--model", "simulated", "--tokenizer", tokenizer],
    ...["--dataset-name", "random", "--random-input-len", "16", "--random-output-len", String(load.tokens)],
    ...["--num-prompts", String(load.streams * load.requests), "--max-concurrency", String(load.streams)],
    // A request before the load would be in the server's truth and not in the client's figures.
    ...["--ignore-eos", "--ready-check-timeout-sec", "0", "--disable-tqdm"],
    ...["--percentile-metrics", "ttft,itl", "--metric-percentiles", "50,90,99"],
    ...["--save-result", "--result-dir", path.dirname(file), "--result-filename", path.basename(file)],
  ];
}

/**
 * The arguments behind `vllm-rs`, version 0.33: those of Python's client, whose result file it writes, too. Its window of a steady
 * state would leave requests out that are in the server's truth.
 */
export function vllmRsArguments(run: PeerRun): string[] {
  return [...vllmArguments(run), "--no-steady-state"];
}

/** The number at a path of names in what a peer wrote; throws when there is none. */
function numberAt(said: unknown, ...names: (string | number)[]): number {
  let value = said;
  for (const name of names) value = (value as Record<string | number, unknown> | null | undefined)?.[name];
  if (typeof value !== "number") throw new Error(`the result has no number ${names.join(".")}`);
  return value;
}

/**
 * What vllm bench serve says of a run (vllm/benchmarks/serve.py). Its TTFT ends with the first chunk that has choices,
 * its ITL is the distance of two chunks, both in ms.
 * @throws when a figure is missing
 */
export function readVllm(text: string): Measured {
  const said: unknown = JSON.parse(text);
  const latency = (metric: string): Latency => ({
    mean: numberAt(said, `mean_${metric}_ms`),
    p50: numberAt(said, `p50_${metric}_ms`),
    p90: numberAt(said, `p90_${metric}_ms`),
    p99: numberAt(said, `p99_${metric}_ms`),
  });
  return {
    requests: numberAt(said, "completed"),
    failed: numberAt(said, "failed"),
    tokens: numberAt(said, "total_output_tokens"),
    spanS: numberAt(said, "duration"),
    ttftMs: latency("ttft"),
    itlMs: latency("itl"),
  };
}

/** The arguments behind `guidellm`, version 0.8. */
export function guidellmArguments({ origin, load, tokenizer, file }: PeerRun): string[] {
  return [
    ...["run", "--backend", `kind=openai_http,target=${origin},model=simulated`],
    ...["--profile", `kind=concurrent,streams=${load.streams}`],
    ...["--constraint", `kind=max_requests,count=${load.streams * load.requests}`],
    ...["--tokenizer", `kind=huggingface_auto,model=${tokenizer}`],
    ...["--data", `kind=synthetic_text,prompt_tokens=16,output_tokens=${load.tokens}`],
    ...["--output", `kind=json,path=${file}`, "--disable-console-interactive"],
  ];
}

/**
 * What GuideLLM says of a run (guidellm/schemas/request_stats.py). Its ITL is one mean a request, (last token - first
 * token) / (tokens - 1), so its percentiles are of requests: a tail of gaps is not in them.
 * @throws when a figure is missing
 */
export function readGuidellm(text: string): Measured {
  const benchmark = (JSON.parse(text) as { benchmarks?: unknown[] }).benchmarks?.[0];
  const of = (...names: string[]) => numberAt(benchmark, ...names);
  const latency = (metric: string): Latency => ({
    mean: of("metrics", metric, "successful", "mean"),
    p50: of("metrics", metric, "successful", "percentiles", "p50"),
    p90: of("metrics", metric, "successful", "percentiles", "p90"),
    p99: of("metrics", metric, "successful", "percentiles", "p99"),
  });
  return {
    requests: of("metrics", "request_totals", "successful"),
    failed: of("metrics", "request_totals", "errored") + of("metrics", "request_totals", "incomplete"),
    tokens: of("metrics", "output_token_count", "successful", "total_sum"),
    spanS: of("duration"),
    ttftMs: latency("time_to_first_token_ms"),
    itlMs: latency("inter_token_latency_ms"),
  };
}

/** The arguments behind `aiperf`, version 0.13; its result is one of several files of a folder. */
export function aiperfArguments({ origin, load, tokenizer, file }: PeerRun): string[] {
  return [
    ...["profile", "--model", "simulated", "--url", origin, "--endpoint-type", "chat", "--streaming"],
    ...["--concurrency", String(load.streams), "--request-count", String(load.streams * load.requests)],
    ...["--tokenizer", tokenizer, "--synthetic-input-tokens-mean", "16", "--use-server-token-count"],
    ...[
      "--output-tokens-mean",
      String(load.tokens),
      "--output-tokens-stddev",
      "0",
      "--extra-inputs",
      "ignore_eos:true",
    ],
    ...["--ui", "none", "--output-artifact-dir", path.dirname(file)],
  ];
}

/** Name that AIPerf gives its result. */
export const aiperfResult = "profile_export_aiperf.json";

/**
 * What AIPerf says of a run (aiperf/metrics/types). What it calls inter-token latency is one mean a request; the gaps
 * of chunks are its inter-chunk latency, so that is taken.
 * @throws when a figure is missing
 */
export function readAiperf(text: string): Measured {
  const said = JSON.parse(text) as Record<string, unknown>;
  const latency = (metric: string): Latency => ({
    mean: numberAt(said, metric, "avg"),
    p50: numberAt(said, metric, "p50"),
    p90: numberAt(said, metric, "p90"),
    p99: numberAt(said, metric, "p99"),
  });
  return {
    requests: numberAt(said, "request_count", "avg"),
    // Absent when none failed.
    failed: said.error_request_count ? numberAt(said, "error_request_count", "avg") : 0,
    tokens: numberAt(said, "total_osl", "avg"),
    spanS: numberAt(said, "benchmark_duration", "avg"),
    ttftMs: latency("time_to_first_token"),
    itlMs: latency("inter_chunk_latency"),
  };
}

/** inference-perf makes prompts of no data set for completions only; its answers are as long and paced as those of chats. */
export const inferencePerfPath = "/v1/completions";

/** The arguments behind `inference-perf`, version 0.7; its result is one of several files of a folder. */
export function inferencePerfArguments({ origin, load, tokenizer, file }: PeerRun): string[] {
  const requests = load.streams * load.requests;
  const data = "--data.shared_prefix";
  return [
    ...["--log-level", "ERROR", "--api.type", "completion", "--api.streaming", "true"],
    ...["--server.type", "vllm", "--server.base_url", origin, "--server.model_name", "simulated"],
    ...["--server.ignore_eos", "true", "--tokenizer.pretrained_model_name_or_path", tokenizer],
    ...["--data.type", "shared_prefix", `${data}.num_groups`, "1", `${data}.num_prompts_per_group`, String(requests)],
    ...[`${data}.system_prompt_len`, "8", `${data}.question_len`, "8", `${data}.output_len`, String(load.tokens)],
    // Every worker may hold all streams, so that the number of workers (one a core) bounds nothing.
    ...["--load.type", "concurrent", "--load.worker_max_concurrency", String(load.streams)],
    ...["--load.stages", JSON.stringify([{ num_requests: requests, concurrency_level: load.streams }])],
    ...["--report.request_lifecycle.per_stage", "false", "--report.request_lifecycle.percentiles", "[50,90,99]"],
    ...["--report.request_lifecycle.use_server_output_tokens", "true"],
    ...["--storage.local_storage.path", path.dirname(file)],
  ];
}

/** Name that inference-perf gives its result. */
export const inferencePerfResult = "summary_lifecycle_metrics.json";

/**
 * What inference-perf says of a run (inference_perf/reportgen/base.py), there in seconds. Its ITL splits each chunk into
 * tokens again and gives the gap to the first, zero to the others: where a chunk is a token, that is the gap of chunks.
 * @throws when a figure is missing
 */
export function readInferencePerf(text: string): Measured {
  const said: unknown = JSON.parse(text);
  const latency = (metric: string): Latency => {
    const ms = (name: string) => 1000 * numberAt(said, "successes", "latency", metric, name);
    return { mean: ms("mean"), p50: ms("median"), p90: ms("p90"), p99: ms("p99") };
  };
  return {
    requests: numberAt(said, "successes", "count"),
    failed: numberAt(said, "failures", "count"),
    tokens: numberAt(said, "successes", "output_tokens", "total"),
    spanS: numberAt(said, "benchmark_time_seconds"),
    ttftMs: latency("time_to_first_token"),
    itlMs: latency("inter_token_latency"),
  };
}

/** A command of the environment or a default, as words: VLLM_BENCH="python cli.py". Words hold no blanks. */
export function commandWords(value: string | undefined, standard: string): [string, ...string[]] {
  const [file, ...args] = (value ?? "").split(" ").filter((word) => word !== "");
  return file === undefined ? [standard] : [file, ...args];
}
