import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestLine, SessionLine } from "../../lib/figures/records";
import type { RequestTruth } from "./simulated";
import { turnFigures } from "./turns";

const ms = 1e6;
/** Two sessions of two turns: sent the moment they are scheduled, the second turn 500 ms behind the end of the first. */
function talk(change: (line: RequestLine) => Partial<RequestLine> = () => ({})) {
  const requests: RequestLine[] = [];
  const truths: RequestTruth[] = [];
  for (const session of ["s0", "s1"]) {
    for (const turn of [1, 2]) {
      const atNs = (turn === 1 ? 1000 : 1000 + 200 + 500) * ms;
      const id = `${session}-${turn}`;
      const line: RequestLine = {
        ...{ type: "request", id, level: "c2", phase: "steady", session, turn, vu: 1, outcome: "completed" },
        ...{ scheduledNs: atNs, sentNs: atNs, firstOutputNs: atNs + 100 * ms, lastOutputNs: atNs + 200 * ms },
        ...{
          endNs: atNs + 200 * ms,
          arrivals: [
            [100 * ms, 1],
            [100 * ms, 1],
          ],
          inputTokens: 50 * turn,
          outputTokens: 2,
        },
        cachedTokens: turn === 1 ? 0 : 48,
      };
      requests.push({ ...line, ...change(line) } as RequestLine);
      truths.push({
        ...{ id, path: "/v1/chat/completions", beginNs: atNs, kernelBegin: true, status: 200, promptTokens: 50 * turn },
        ...{
          outputTokens: 2,
          cachedTokens: turn === 1 ? undefined : 48,
          doneNs: atNs + 200 * ms,
          finishReason: "length",
        },
        sendsNs: [
          [atNs + 100 * ms, atNs + 100 * ms, 1],
          [atNs + 200 * ms, atNs + 200 * ms, 1],
        ],
        fault: "",
      });
    }
  }
  const sessions: SessionLine[] = ["s0", "s1"].map((id) => ({
    ...{
      type: "session",
      id,
      level: "c2",
      phase: "steady",
      outcome: "completed",
      startNs: 1000 * ms,
      endNs: 1900 * ms,
    },
  }));
  return turnFigures(requests, sessions, truths);
}

const none = { unmatched: 0, turnTtftErrorMs: 0, cachedWrong: 0, turnCachedError: 0, thinkErrorMs: 0 };

test("a client that says what is true has no error, and its think time stands in none", () => {
  assert.deepEqual(talk(), { ...none, leastThinkMs: 500, mostSessions: 2, vus: 1 });
});

const wrong: [string, Parameters<typeof talk>[0], Partial<ReturnType<typeof talk>>][] = [
  [
    "a think time inside the scheduled latency",
    ({ turn, sentNs = 0 }) => (turn === 2 ? { scheduledNs: sentNs - 500 * ms } : {}),
    { thinkErrorMs: 500, leastThinkMs: 0 },
  ],
  ["a TTFT of one turn", ({ turn }) => (turn === 2 ? { firstOutputNs: 1803 * ms } : {}), { turnTtftErrorMs: 3 }],
  [
    "the cached tokens of one request",
    ({ id }) => (id === "s1-2" ? { cachedTokens: 38 } : {}),
    { cachedWrong: 1, turnCachedError: (48 + 38) / 200 - 96 / 200 },
  ],
  ["an input that nobody sent", ({ id }) => (id === "s1-1" ? { inputTokens: 51 } : {}), { cachedWrong: 1 }],
  ["a request of another run", ({ id }) => (id === "s1-2" ? { id: "other" } : {}), { unmatched: 2 }],
];
for (const [what, change, expected] of wrong) {
  test(`found: ${what}`, () => {
    const figures = talk(change);
    for (const [name, value] of Object.entries(expected))
      assert.ok(
        Math.abs(figures[name as keyof typeof figures] - value) < 1e-9,
        `${name} is ${figures[name as keyof typeof figures]}`,
      );
  });
}
