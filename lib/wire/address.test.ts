import assert from "node:assert/strict";
import { test } from "node:test";
import { isAzure, joined } from "./address";

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

test("Azure's addresses are told by the version they name, or by their host", () => {
  for (const base of [
    azure,
    "http://gateway/openai/deployments/x?a=1&api-version=1",
    "https://r.services.ai.azure.com/openai/v1",
  ])
    assert.ok(isAzure(base), base);
  for (const base of ["http://h/v1", "https://h/v1?version=1", "https://h.example/openai.azure.com"])
    assert.ok(!isAzure(base), base);
});
