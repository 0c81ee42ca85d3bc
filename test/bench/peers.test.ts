import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import {
  aiperfArguments,
  commandWords,
  guidellmArguments,
  inferencePerfArguments,
  type PeerRun,
  readAiperf,
  readGuidellm,
  readInferencePerf,
  readVllm,
  vllmArguments,
  vllmRsArguments,
  writeTokenizer,
} from "./peers";

const run: PeerRun = {
  origin: "http://127.0.0.1:18000",
  load: { kind: "closed", streams: 20, requests: 3, tokens: 200 },
  tokenizer: "/d/tokenizer",
  file: "/d/result.json",
};

/** The value behind an option. */
function option(args: readonly string[], name: string): string | undefined {
  return args[args.indexOf(name) + 1];
}

test("vllm bench serve is asked for the load of the case and for all figures", () => {
  const args = vllmArguments(run);
  assert.deepEqual(args.slice(0, 2), ["bench", "serve"]);
  const asked = {
    "--base-url": "http://127.0.0.1:18000",
    "--endpoint": "/v1/chat/completions",
    "--tokenizer": "/d/tokenizer",
    "--num-prompts": "60",
    "--max-concurrency": "20",
    "--random-output-len": "200",
    "--metric-percentiles": "50,90,99",
    "--ready-check-timeout-sec": "0",
    "--result-dir": "/d",
    "--result-filename": "result.json",
  };
  for (const [name, value] of Object.entries(asked)) assert.equal(option(args, name), value, name);
  assert.ok(args.includes("--ignore-eos"));
});

test("vllm-rs takes what Python's client takes, and measures the whole run", () => {
  assert.deepEqual(vllmRsArguments(run), [...vllmArguments(run), "--no-steady-state"]);
});

test("guidellm is asked for the load of the case", () => {
  const args = guidellmArguments(run);
  assert.equal(args[0], "run");
  assert.match(option(args, "--backend") ?? "", /target=http:\/\/127\.0\.0\.1:18000,/);
  assert.equal(option(args, "--profile"), "kind=concurrent,streams=20");
  assert.equal(option(args, "--constraint"), "kind=max_requests,count=60");
  assert.match(option(args, "--data") ?? "", /output_tokens=200$/);
  assert.equal(option(args, "--output"), "kind=json,path=/d/result.json");
});

const vllmResult = {
  duration: 1.108,
  completed: 39,
  failed: 1,
  total_output_tokens: 1950,
  mean_ttft_ms: 56.9,
  median_ttft_ms: 56.2,
  p50_ttft_ms: 56.2,
  p90_ttft_ms: 64.8,
  p99_ttft_ms: 69.8,
  mean_itl_ms: 9.81,
  p50_itl_ms: 10,
  p90_itl_ms: 10.03,
  p99_itl_ms: 11.5,
};

test("vllm bench serve's result", () => {
  assert.deepEqual(readVllm(JSON.stringify(vllmResult)), {
    requests: 39,
    failed: 1,
    tokens: 1950,
    spanS: 1.108,
    ttftMs: { mean: 56.9, p50: 56.2, p90: 64.8, p99: 69.8 },
    itlMs: { mean: 9.81, p50: 10, p90: 10.03, p99: 11.5 },
  });
  const { p99_itl_ms: _, ...without } = vllmResult;
  assert.throws(() => readVllm(JSON.stringify(without)), /p99_itl_ms/);
});

const distribution = (p50: number) => ({
  successful: { mean: p50 + 1, percentiles: { p50, p90: p50 + 2, p99: p50 + 3 } },
  errored: { mean: 900, percentiles: { p50: 900, p90: 900, p99: 900 } },
});
const guidellmResult = {
  benchmarks: [
    {
      duration: 1.2,
      metrics: {
        request_totals: { successful: 36, errored: 3, incomplete: 1, total: 40 },
        output_token_count: { successful: { total_sum: 1800 } },
        time_to_first_token_ms: distribution(50),
        inter_token_latency_ms: distribution(10),
      },
    },
  ],
};

test("guidellm's result: the figures of requests that succeeded", () => {
  assert.deepEqual(readGuidellm(JSON.stringify(guidellmResult)), {
    requests: 36,
    failed: 4,
    tokens: 1800,
    spanS: 1.2,
    ttftMs: { mean: 51, p50: 50, p90: 52, p99: 53 },
    itlMs: { mean: 11, p50: 10, p90: 12, p99: 13 },
  });
  assert.throws(() => readGuidellm(JSON.stringify({ benchmarks: [] })), /request_totals/);
});

test("aiperf is asked for the load of the case, and its chunk gaps are the ITL", () => {
  const args = aiperfArguments(run);
  const asked = {
    "--url": "http://127.0.0.1:18000",
    "--concurrency": "20",
    "--request-count": "60",
    "--output-tokens-mean": "200",
    "--output-artifact-dir": "/d",
  };
  for (const [name, value] of Object.entries(asked)) assert.equal(option(args, name), value, name);
  const of = (avg: number) => ({ avg, p50: avg - 1, p90: avg + 1, p99: avg + 2 });
  const said = {
    request_count: { avg: 38 },
    error_request_count: { avg: 2 },
    total_osl: { avg: 1900 },
    benchmark_duration: { avg: 1.3 },
    time_to_first_token: of(70),
    inter_token_latency: of(10.3),
    inter_chunk_latency: of(10),
  };
  const measured = readAiperf(JSON.stringify(said));
  assert.deepEqual(measured.itlMs, { mean: 10, p50: 9, p90: 11, p99: 12 });
  assert.deepEqual([measured.requests, measured.failed, measured.tokens, measured.spanS], [38, 2, 1900, 1.3]);
  assert.equal(readAiperf(JSON.stringify({ ...said, error_request_count: undefined })).failed, 0);
  assert.throws(() => readAiperf(JSON.stringify({ ...said, total_osl: undefined })), /total_osl/);
});

test("inference-perf is asked for the load of the case, and its seconds become ms", () => {
  const args = inferencePerfArguments(run);
  const asked = {
    "--server.base_url": "http://127.0.0.1:18000",
    "--tokenizer.pretrained_model_name_or_path": "/d/tokenizer",
    "--data.shared_prefix.num_prompts_per_group": "60",
    "--data.shared_prefix.output_len": "200",
    "--load.worker_max_concurrency": "20",
    "--load.stages": '[{"num_requests":60,"concurrency_level":20}]',
    "--storage.local_storage.path": "/d",
  };
  for (const [name, value] of Object.entries(asked)) assert.equal(option(args, name), value, name);
  const of = (median: number) => ({ mean: median + 0.25, median, p90: median + 0.5, p99: median + 0.75 });
  const said = {
    benchmark_time_seconds: 1.5,
    successes: {
      count: 38,
      output_tokens: { total: 1900, mean: 50 },
      latency: { time_to_first_token: of(0.5), inter_token_latency: of(0.25) },
    },
    failures: { count: 2 },
  };
  assert.deepEqual(readInferencePerf(JSON.stringify(said)), {
    requests: 38,
    failed: 2,
    tokens: 1900,
    spanS: 1.5,
    ttftMs: { mean: 750, p50: 500, p90: 1000, p99: 1250 },
    itlMs: { mean: 500, p50: 250, p90: 750, p99: 1000 },
  });
  // It writes null where no request succeeded.
  const none = { ...said, successes: { ...said.successes, latency: { time_to_first_token: null } } };
  assert.throws(() => readInferencePerf(JSON.stringify(none)), /time_to_first_token/);
});

test("a command of the environment is words, and the peer's own name where there is none", () => {
  assert.deepEqual(commandWords("python  -W ignore cli.py", "vllm"), ["python", "-W", "ignore", "cli.py"]);
  assert.deepEqual(commandWords(undefined, "vllm"), ["vllm"]);
  assert.deepEqual(commandWords(" ", "vllm"), ["vllm"]);
});

test("the tokenizer has one id a word and names its special words", () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-tokenizer-"));
  try {
    writeTokenizer(dir);
    const read = (file: string) => JSON.parse(readFileSync(path.join(dir, file), "utf8"));
    const { model, added_tokens: added } = read("tokenizer.json");
    const ids = Object.values(model.vocab);
    assert.equal(new Set(ids).size, ids.length);
    for (const { id, content } of added) assert.equal(model.vocab[content], id);
    assert.equal(read("tokenizer_config.json").eos_token, "</s>");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
