import assert from "node:assert/strict";
import { test } from "node:test";
import { isAzure, joined, sameHost } from "./address";

const azure = "https://mine.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21";

test("a path goes before the query of its base", () => {
  assert.equal(joined("http://h:1/v1", "/chat/completions"), "http://h:1/v1/chat/completions");
  assert.equal(
    joined(azure, "/chat/completions"),
    "https://mine.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
  );
  assert.equal(joined("http://h/v1?a=b?c", "/x?y=z"), "http://h/v1/x?y=z&a=b?c");
  assert.equal(
    joined("https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/endpoints/openapi", "/chat/completions"),
    "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/endpoints/openapi/chat/completions",
  );
});

test("Azure's addresses are recognized by the version they name, or by their host", () => {
  for (const base of [
    azure,
    "http://gateway/openai/deployments/x?a=1&api-version=1",
    "https://r.services.ai.azure.com/openai/v1",
  ])
    assert.ok(isAzure(base), base);
  for (const base of ["http://h/v1", "https://h/v1?version=1", "https://h.example/openai.azure.com"])
    assert.ok(!isAzure(base), base);
});

test("a key goes to the host that it is for, and to no other scheme or port", () => {
  const base = "https://gpu.example.com/v1";
  for (const url of [
    "https://gpu.example.com/metrics",
    "https://GPU.example.com:443/x",
    "https://u:p@gpu.example.com/m",
  ])
    assert.ok(sameHost(url, base), url);
  for (const url of [
    ...["http://gpu.example.com/metrics", "https://gpu.example.com:9400/metrics", "https://other.example.com/metrics"],
    ...[
      "https://gpu.example.com@evil.example/metrics",
      "https://gpu.example.com.evil/metrics",
      "ftp://gpu.example.com/",
    ],
    ...[
      "https://evil.example?@gpu.example.com/",
      "https://evil.example\\@gpu.example.com/",
      "https://evil#@gpu.example.com",
    ],
  ])
    assert.ok(!sameHost(url, base), url);
  assert.ok(sameHost("http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000/v1?a=b"));
  assert.ok(sameHost("unix:///run/x:/metrics", "unix:///run/x:/v1"));
  assert.ok(!sameHost("unix:///run/y:/metrics", "unix:///run/x:/v1"));
});
