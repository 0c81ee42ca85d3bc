import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { bundle, scenarioNames } from "../build/bundle";
import { root } from "../build/paths";
import { scratchDir } from "../test/support/scratch";
import { deploymentOf, type Manifest, manifestFile, manifestsOf } from "./k8s";

/** The fields that the manifests use, by k6-operator 1.6's and Kubernetes' own API: a type's name, a map, or [an element]. */
type Schema =
  | "text"
  | "count"
  | { readonly [field: string]: Schema }
  | readonly [Schema]
  | { readonly oneOf: readonly Schema[] };

const required = (fields: Record<string, Schema>, ...names: string[]) => ({ ...fields, required: names as never });
const secretKeyRef = required({ name: "text", key: "text" }, "name", "key");
const env: Schema = [required({ name: "text", value: "text", valueFrom: { secretKeyRef } }, "name")];
const metadata = required({ name: "text", namespace: "text" }, "name");
const labels = { "app.kubernetes.io/name": "text" } as const;
const probe = {
  exec: { command: ["text"] },
  httpGet: { path: "text", port: "count" },
  tcpSocket: { port: "count" },
  periodSeconds: "count",
  timeoutSeconds: "count",
  failureThreshold: "count",
} as const;

const schemas: Record<string, Schema> = {
  TestRun: {
    ...{ apiVersion: "text", kind: "text", metadata },
    spec: required(
      {
        parallelism: "count",
        script: { localFile: "text", configMap: required({ name: "text", file: "text" }, "name", "file") },
        args: ["text"],
        initializer: { image: "text", env },
        runner: { image: "text", env, readinessProbe: probe, livenessProbe: probe },
      },
      "parallelism",
      "script",
    ),
  },
  Job: {
    ...{ apiVersion: "text", kind: "text", metadata },
    spec: required(
      {
        backoffLimit: "count",
        activeDeadlineSeconds: "count",
        template: {
          metadata: { labels },
          spec: required(
            {
              restartPolicy: "text",
              containers: [
                required(
                  {
                    ...{ name: "text", image: "text", command: ["text"], args: ["text"], env },
                    ports: [{ containerPort: "count" }],
                    readinessProbe: probe,
                    volumeMounts: [required({ name: "text", mountPath: "text" }, "name", "mountPath")],
                  },
                  "name",
                  "image",
                ),
              ],
              volumes: [required({ name: "text", emptyDir: {}, persistentVolumeClaim: { claimName: "text" } }, "name")],
            },
            "containers",
            "restartPolicy",
          ),
        },
      },
      "template",
    ),
  },
  Service: {
    ...{ apiVersion: "text", kind: "text", metadata },
    spec: required({ selector: labels, ports: [{ port: "count", targetPort: "count" }] }, "selector", "ports"),
  },
};

/** What of a value does not follow a schema, a line each. */
function violations(value: Manifest, schema: Schema, at: string): string[] {
  if (schema === "text") return typeof value === "string" ? [] : [`${at} is no text`];
  if (schema === "count") return Number.isInteger(value) ? [] : [`${at} is no whole number`];
  if (Array.isArray(schema)) {
    if (!Array.isArray(value)) return [`${at} is no list`];
    return value.flatMap((each, i) => violations(each, schema[0] as Schema, `${at}[${i}]`));
  }
  if (typeof value !== "object" || Array.isArray(value)) return [`${at} is no map`];
  const { required: names = [], ...fields } = schema as { required?: string[] } & Record<string, Schema>;
  return [
    ...names.filter((name) => !(name in value)).map((name) => `${at} has no ${name}`),
    ...Object.entries(value).flatMap(([name, each]) => {
      const of = fields[name];
      return of === undefined ? [`${at} has a field ${name}`] : violations(each, of, `${at}.${name}`);
    }),
  ];
}

const golden = (scenario: string) => path.join(root, "test", "golden", "k8s", `${scenario}.yaml`);

const variants: string[][] = [
  [],
  ["--config-map", "bundles", "--claim", "results", "--namespace", "load", "--secret-setting", "API_KEY=llm:key"],
];

test("every scenario's manifests use fields that the operator and Kubernetes have, and are those of the golden files", () => {
  // A search is not divided.
  for (const [i, scenario] of scenarioNames()
    .filter((name) => name !== "capacity")
    .entries()) {
    const deployment = deploymentOf([
      ...[scenario, "-n", "3", "-e", "BASE_URL=http://vllm:8000/v1", "--image", "registry.example/tokenclock:1"],
      ...(variants[i % variants.length] ?? []),
    ]);
    for (const manifest of manifestsOf(deployment)) {
      const schema = schemas[String(manifest.kind)];
      assert.ok(schema, `the kind ${manifest.kind}`);
      assert.deepEqual(violations(manifest, schema, String(manifest.kind)), []);
    }
    const text = manifestFile(deployment);
    if (process.env.UPDATE_GOLDEN) {
      mkdirSync(path.dirname(golden(scenario)), { recursive: true });
      writeFileSync(golden(scenario), text);
    }
    assert.ok(existsSync(golden(scenario)), `${golden(scenario)} is missing: run this test with UPDATE_GOLDEN=1`);
    assert.equal(text, readFileSync(golden(scenario), "utf8"), `${scenario}: UPDATE_GOLDEN=1 writes it anew`);
  }
});

test("the schema of the test finds what is not allowed", () => {
  const [testRun] = manifestsOf(deploymentOf(["batch-burst", "-n", "2", "-e", "BASE_URL=http://vllm:8000/v1"]));
  assert.ok(testRun);
  const spec = testRun.spec as Record<string, Manifest>;
  const wrong = { ...testRun, spec: { ...spec, parallelism: "2", cleanup: "post" } };
  assert.deepEqual(violations(wrong, schemas.TestRun as Schema, "TestRun"), [
    "TestRun.spec.parallelism is no whole number",
    "TestRun.spec has a field cleanup",
  ]);
  const { script: _, ...without } = spec;
  assert.deepEqual(violations({ ...testRun, spec: without }, schemas.TestRun as Schema, "TestRun"), [
    "TestRun.spec has no script",
  ]);
});

test("secrets, the manifests' own settings and what no run takes are refused; a pod's $(NAME) stays text", () => {
  const server = ["-e", "BASE_URL=http://vllm:8000/v1"];
  const cases: [string[], RegExp][] = [
    [["no-such", "-n", "2", ...server], /there is no scenario no-such/],
    [
      ["capacity", "-n", "2", ...server],
      /capacity cannot be divided: its search decides by what one process has measured/,
    ],
    [["batch-burst", "-n", "2"], /BASE_URL is not set/],
    [["batch-burst", "-n", "2", ...server, "-e", "API_KEY=hunter2"], /-e API_KEY: .* use --secret-setting/],
    [["batch-burst", "-n", "2", ...server, "-e", 'HEADERS={"x":"hunter2"}'], /-e HEADERS: .* use --secret-setting/],
    [["batch-burst", "-n", "2", ...server, "-e", "RUNNERS=3"], /-e RUNNERS: the manifests set it themselves/],
    [["batch-burst", "-n", "2", ...server, "-e", "RUNS=none"], /RUNS=none is not a whole number/],
    [["batch-burst", "-n", "2", ...server, "-e", "RUNZ=1"], /RUNZ is not a setting; did you mean RUNS/],
    [["batch-burst", "-n", "2", ...server, "--name", "Sweep_1"], /--name Sweep_1 is not a name/],
    [["batch-burst", "-n", "2", ...server, "--name", "tokenclock-1"], /--name tokenclock-1 is kept free/],
    [["batch-burst", "-n", "2", ...server, "--secret-setting", "KEY=a:b"], /KEY=a:b is not a setting/],
  ];
  for (const [argv, message] of cases) {
    assert.throws(
      () => deploymentOf(argv),
      (error: Error) => message.test(error.message) && !error.message.includes("hunter2"),
      argv.join(" "),
    );
  }
  const text = manifestFile(deploymentOf(["batch-burst", "-n", "2", ...server, "-e", 'DESCRIPTION=$(hostname) "x"']));
  assert.match(text, /value: "\$\$\(hostname\) \\"x\\""/);
});

test("a bundle for a ConfigMap names no source map, of whose absence k6 would warn, and fits", async () => {
  const [file = ""] = await bundle([path.join(root, "scenarios", "batch-burst.ts")], scratchDir(), [], false);
  const text = readFileSync(file, "utf8");
  assert.doesNotMatch(text, /sourceMappingURL/);
  assert.ok(text.length < 1024 * 1024);
  assert.ok(!existsSync(`${file}.map`));
});
