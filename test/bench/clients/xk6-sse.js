// What users of xk6-sse write, after its README and llama.cpp's bench script: the clock is read when the callback runs,
// every event is parsed in JavaScript and every gap is a sample of a Trend.

import { Counter, Trend } from "k6/metrics";
import sse from "k6/x/sse";

// biome-ignore lint/style/noRestrictedGlobals: a benchmark's script takes no settings of the project
const { URL, BODY, STREAMS, REQUESTS, RESULT } = __ENV;
const body = open(BODY);

const ttft = new Trend("ttft", true);
const itl = new Trend("itl", true);
const began = new Trend("began");
const ended = new Trend("ended");
const tokens = new Counter("tokens");
const done = new Counter("done");

export const options = {
  scenarios: {
    load: {
      executor: "per-vu-iterations",
      maxDuration: "5m",
      vus: Number(STREAMS),
      iterations: Number(REQUESTS),
    },
  },
  summaryTrendStats: ["count", "avg", "min", "p(50)", "p(90)", "p(99)", "max"],
};

export default function () {
  const params = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  const startMs = Date.now();
  let lastMs = 0;
  const response = sse.open(URL, params, (client) => {
    client.on("event", (event) => {
      if (event.data === "[DONE]" || event.data === "") return;
      const chunk = JSON.parse(event.data);
      if (!chunk.choices?.[0]?.delta?.content) return;
      const nowMs = Date.now();
      if (lastMs === 0) ttft.add(nowMs - startMs);
      else itl.add(nowMs - lastMs);
      lastMs = nowMs;
      tokens.add(1);
    });
    client.on("error", () => client.close());
  });
  began.add(startMs);
  ended.add(Date.now());
  if (response && response.status === 200) done.add(1);
}

export function handleSummary({ metrics }) {
  const stats = (name) => {
    const v = metrics[name]?.values ?? {};
    return { count: v.count, mean: v.avg, p50: v["p(50)"], p90: v["p(90)"], p99: v["p(99)"] };
  };
  const completed = metrics.done?.values.count ?? 0;
  return {
    [RESULT]: JSON.stringify({
      requests: completed,
      failed: Number(STREAMS) * Number(REQUESTS) - completed,
      tokens: metrics.tokens?.values.count ?? 0,
      spanS: (metrics.ended.values.max - metrics.began.values.min) / 1000,
      ttftMs: stats("ttft"),
      itlMs: stats("itl"),
    }),
  };
}
