import assert from "node:assert/strict";
import test from "node:test";
import { sameHost } from "./polled";

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
