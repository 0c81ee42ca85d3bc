import assert from "node:assert/strict";
import { test } from "node:test";
import { carriesModule, goEnvironment, parseGoVersion } from "./k6";

test("Go's version is found in what `go version` says, of releases and development versions", () => {
  assert.deepEqual(parseGoVersion("go version go1.26.8 linux/amd64"), { name: "go1.26.8", major: 1, minor: 26 });
  assert.deepEqual(parseGoVersion("go version go1.25rc1 darwin/arm64"), { name: "go1.25rc1", major: 1, minor: 25 });
  assert.equal(parseGoVersion("zsh: command not found: go"), undefined);
});

test("a k6 carries the module when its list of extensions names it", () => {
  const version = (extension: string) => `k6 v2.2.0 (go1.26.8, linux/amd64)\nExtensions:\n  ${extension}\n`;
  assert.ok(carriesModule(version("github.com/tokenclock/tokenclock/extension (devel), k6/x/tokenclock [js]")));
  assert.ok(!carriesModule(version("github.com/phymbert/xk6-sse v0.1.2, k6/x/sse [js]")));
});

test("Go's environment is the same for a build and a release, which adds its target alone", () => {
  const own = goEnvironment();
  assert.equal(own.CGO_ENABLED, "0");
  assert.match(own.GOFLAGS ?? "", /(^| )-trimpath$/);
  assert.deepEqual(goEnvironment({ os: "windows", architecture: "arm64" }), {
    ...own,
    GOOS: "windows",
    GOARCH: "arm64",
  });
});
