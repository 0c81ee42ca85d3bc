/** What the audit makes of its tools: only what was checked and clean is ok. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gosecFinding, lintFinding, npmFinding, vulnFinding } from "./audit";

const ended = (code: number, stdout: string, stderr = "") => ({ code, stdout, stderr });
const npm = (vulnerabilities: object) => ended(0, JSON.stringify({ metadata: { vulnerabilities } }));

test("npm audit: none, some, and no report at all", () => {
  assert.equal(npmFinding(npm({ high: 0, total: 0 })).state, "ok");
  assert.equal(npmFinding(npm({ high: 1, total: 1 })).state, "found");
  assert.equal(npmFinding(npm({})).state, "not checked");
  assert.equal(npmFinding(ended(1, '{"message":"405 Method Not Allowed"}', "npm warn audit 405")).state, "not checked");
  assert.equal(npmFinding(ended(127, "", "spawn npm ENOENT")).state, "not checked");
});

test("govulncheck: none, some, and a database out of reach", () => {
  assert.equal(vulnFinding(ended(0, "No vulnerabilities found.")).state, "ok");
  for (const code of [1, 3])
    assert.equal(vulnFinding(ended(code, "=== Symbol Results ===\n\nVulnerability #1: GO-2024-1")).state, "found");
  const apart = "go: downloading golang.org/x/vuln v1.1.4\ngovulncheck: fetching vulnerabilities: no such host\n";
  assert.deepEqual(vulnFinding(ended(1, "", apart)), {
    state: "not checked",
    text: "govulncheck did not end its work: govulncheck: fetching vulnerabilities: no such host",
  });
});

test("golangci-lint: nothing, something, and no end", () => {
  assert.equal(lintFinding(ended(0, "0 issues.")).state, "ok");
  const found = "internal/a.go:7:2: ineffectual assignment to body (ineffassign)";
  assert.deepEqual(lintFinding(ended(1, `${found}\n1 issues:`, "exit status 1")), {
    state: "found",
    text: `${found}\n1 issues:`,
  });
  assert.equal(lintFinding(ended(1, "", "go: module lookup disabled by GOPROXY=off")).state, "not checked");
  assert.equal(lintFinding(ended(3, "", "can't load config: unknown linter")).state, "not checked");
});

test("gosec: what is reviewed in its file is none, the same elsewhere is found", () => {
  const issue = (rule_id: string, file: string) => ({ rule_id, file: `/x/extension/${file}`, line: "7", details: "d" });
  const report = (...Issues: object[]) => ended(1, JSON.stringify({ Issues }));
  assert.equal(gosecFinding(report(issue("G402", "internal/coordinate/trust.go"))).state, "ok");
  assert.equal(gosecFinding(ended(0, '{"Issues":null}')).state, "ok");
  const found = gosecFinding(report(issue("G402", "internal/client/client.go"), issue("G103", "internal/ring/a.go")));
  assert.deepEqual(found, { state: "found", text: "extension/internal/client/client.go:7: G402: d" });
  assert.equal(gosecFinding(ended(1, "", "package errors")).state, "not checked");
  assert.equal(gosecFinding(ended(1, "{}")).state, "not checked");
});
