import assert from "node:assert/strict";
import { test } from "node:test";
import { takenByNpm, takenInEnvironment, takenWords, wordsInLog } from "./npm-arguments";

const log = (words: string) =>
  `0 verbose cli /usr/bin/node /usr/bin/npm\n1 info using npm@11.19.1\n9 verbose argv ${words}\n`;

test("npm's log says what it was given, also with quotes in it", () => {
  assert.deepEqual(wordsInLog(log('"start" "x" "--before" "HEADERS={\\"a\\":\\"b c\\"}"')), [
    ...["start", "x", "--before", 'HEADERS={"a":"b c"}'],
  ]);
  assert.deepEqual(wordsInLog(log('"start"')), ["start"]);
  assert.equal(wordsInLog("0 verbose cli npm\n"), undefined);
});

const rows: [words: string[], taken: string[], why: string][] = [
  [[], [], "npm start alone"],
  [["concurrency-sweep", "--", "-e", "BASE_URL=x", "--vus", "3"], [], "what stands behind -- is ours"],
  [["concurrency-sweep", "--before", "BASE_URL=x"], ["-e BASE_URL=..."], "-e as npm 10 and 11 read it"],
  [["--before", "API_KEY=sk", "--before", "SEED=2"], ["-e API_KEY=...", "-e SEED=..."], "no value is shown"],
  [["--env", "A=b", "--out", "json=x"], ["-e A=...", "--out"], "options that npm does not know"],
  [["--env=A=b", "--vus=3"], ["-e A=...", "--vus"], "joined"],
  [["--eBASE_URL=x"], ["--eBASE_URL"], "-eNAME=value"],
  [["--loglevel", "silent", "--prefix", "/p", "--no-color"], [], "npm's own that change nothing"],
  [["--before", "BASE_URL="], ["-e BASE_URL=..."], "empty"],
];
for (const [words, taken, why] of rows) test(why, () => assert.deepEqual(takenWords(words), taken));

test("without a log the environment tells of options that npm does not know", () => {
  const environment = {
    ...{ npm_config_env: "BASE_URL=x", npm_config_ebase_url: "x", npm_config_vus: "true", npm_config_cache: "/c" },
    npm_config_prefix: "/usr",
  };
  assert.deepEqual(takenInEnvironment(environment), ["-e BASE_URL=...", "-e BASE_URL=...", "--vus"]);
});

test("only `npm start` takes anything from npm start", () => {
  assert.deepEqual(takenByNpm({ npm_lifecycle_event: "test", npm_config_env: "A=b" }).words, []);
  assert.deepEqual(takenByNpm({}).words, []);
});
