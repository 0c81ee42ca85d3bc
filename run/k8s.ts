/**
 * `npm run k8s -- SCENARIO -n N [-e NAME=value ...]`: prints the Kubernetes manifests of a run of N runners under k6-operator: the
 * TestRun, and the coordinator's Job and Service.
 */
import path from "node:path";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { bundle, scenarioNames } from "../build/bundle";
import { distDir, root } from "../build/paths";
import { Problem, runProgram } from "../build/program";
import { exitCodes } from "../lib/outcome/exit-codes";
import { asEnvironment, gatherSettings } from "../lib/settings/given-settings";
import { type Environment, parseSettings } from "../lib/settings/parse-settings";
import { SettingError } from "../lib/settings/setting-error";
import { type SettingName, settings, shownSettings } from "../lib/settings/settings";
import { noScenario } from "./help";

/** What the manifests are made of. */
export interface Deployment {
  readonly scenario: string;
  /** Name of the TestRun; the coordinator's is this with -coordinator. */
  readonly name: string;
  readonly namespace?: string;
  readonly runners: number;
  /** With k6 on its PATH, the bundles in `bundles`, and for the coordinator what merge needs. */
  readonly image: string;
  readonly bundles: string;
  /** A ConfigMap with the bundle, instead of the image's own. */
  readonly configMap?: string;
  /** A PersistentVolumeClaim for the result; without one it goes with the coordinator's pod. */
  readonly claim?: string;
  /** The secret with the token that runners and coordinator share, under the key "token". */
  readonly secret: string;
  /** Settings that a secret holds: NAME -> [secret, key]. */
  readonly secretSettings: Readonly<Record<string, readonly [secret: string, key: string]>>;
  readonly settings: Environment;
  /** Seconds after which the coordinator is ended, whatever it waits for. */
  readonly deadlineS: number;
}

/** A value of a manifest. */
export type Manifest = string | number | boolean | readonly Manifest[] | { readonly [key: string]: Manifest };

const port = 7431;

/** The three manifests. */
export function manifestsOf(deployment: Deployment): Record<string, Manifest>[] {
  return [testRun(deployment), coordinatorJob(deployment), coordinatorService(deployment)];
}

const coordinatorName = ({ name }: Deployment) => `${name}-coordinator`;

// None of app=k6, k6_cr and runner: the operator would count the pod among its own.
const coordinatorLabels = (deployment: Deployment) => ({ "app.kubernetes.io/name": coordinatorName(deployment) });

const metadata = ({ namespace }: Deployment, name: string): Manifest => (namespace ? { name, namespace } : { name });

/** The variables of a runner but the secret ones. */
function variables(deployment: Deployment): Manifest[] {
  const { runners, settings: given } = deployment;
  const own = {
    ...asEnvironment({
      ...given,
      RUNNERS: String(runners),
      COORDINATOR: `https://${coordinatorName(deployment)}:${port}`,
    }),
    // A folder in the runner itself: the records go to the coordinator while they grow.
    TOKENCLOCK_RESULTS: "/tmp/results",
    K6_NO_USAGE_REPORT: "true",
    K6_AUTO_EXTENSION_RESOLUTION: "false",
  };
  // $(NAME) would be taken for a variable of the pod.
  return Object.entries(own).map(([name, value]) => ({ name, value: value.replaceAll("$(", () => "$$(") }));
}

function secretVariables(secrets: Deployment["secretSettings"]): Manifest[] {
  return Object.entries(secrets).map(([name, [from, key]]) => ({
    name: `TOKENCLOCK_${name}`,
    valueFrom: { secretKeyRef: { name: from, key } },
  }));
}

function testRun(deployment: Deployment): Record<string, Manifest> {
  const { scenario, name, runners, image, bundles, configMap, secret, secretSettings } = deployment;
  const own = variables(deployment);
  const file = `${scenario}.js`;
  return {
    apiVersion: "k6.io/v1alpha1",
    kind: "TestRun",
    metadata: metadata(deployment, name),
    spec: {
      parallelism: runners,
      script: configMap ? { configMap: { name: configMap, file } } : { localFile: path.posix.join(bundles, file) },
      // The exact arguments: those of spec.arguments would go through a shell. The merged run is judged, not its parts. The
      // initializer hands them to k6 archive, which knows fewer than k6 run.
      args: ["--no-thresholds"],
      // It runs the scenario's init code, which reads the same settings, but meets nobody.
      initializer: { image, env: [...own, ...secretVariables(secretSettings)] },
      runner: {
        image,
        env: [...own, ...secretVariables({ COORDINATOR_TOKEN: [secret, "token"], ...secretSettings })],
        // k6's API answers before its VUs are made; the operator's own probe let runners begin 12.9 s apart.
        readinessProbe: {
          exec: { command: ["k6", "x", "tokenclock", "ready"] },
          periodSeconds: 1,
          timeoutSeconds: 5,
          failureThreshold: 600,
        },
        // k6 ends its API before it writes its results, and a busy one answers late: neither is a reason to kill it.
        livenessProbe: {
          httpGet: { path: "/v1/status", port: 6565 },
          periodSeconds: 10,
          timeoutSeconds: 10,
          failureThreshold: 60,
        },
      },
    },
  };
}

function coordinatorJob(deployment: Deployment): Record<string, Manifest> {
  const { name, image, runners, secret, claim, deadlineS } = deployment;
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: metadata(deployment, coordinatorName(deployment)),
    spec: {
      // A second coordinator would be one of another run.
      backoffLimit: 0,
      activeDeadlineSeconds: deadlineS,
      template: {
        metadata: { labels: coordinatorLabels(deployment) },
        spec: {
          restartPolicy: "Never",
          containers: [
            {
              name: "coordinator",
              image,
              command: ["k6", "x", "tokenclock", "coordinate"],
              args: [
                ...["--runners", String(runners), "--listen", `0.0.0.0:${port}`],
                ...["--results", `/results/${name}`, "--wait", "10m"],
              ],
              env: [
                { name: "TOKENCLOCK_COORDINATOR_TOKEN", valueFrom: { secretKeyRef: { name: secret, key: "token" } } },
                { name: "K6_AUTO_EXTENSION_RESOLUTION", value: "false" },
              ],
              ports: [{ containerPort: port }],
              readinessProbe: { tcpSocket: { port }, periodSeconds: 1 },
              volumeMounts: [{ name: "results", mountPath: "/results" }],
            },
          ],
          volumes: [
            { name: "results", ...(claim ? { persistentVolumeClaim: { claimName: claim } } : { emptyDir: {} }) },
          ],
        },
      },
    },
  };
}

function coordinatorService(deployment: Deployment): Record<string, Manifest> {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata(deployment, coordinatorName(deployment)),
    spec: { selector: coordinatorLabels(deployment), ports: [{ port, targetPort: port }] },
  };
}

/** A manifest in YAML. Texts are quoted as in JSON, of which YAML is a superset. */
function yaml(value: Manifest, indent = ""): string {
  const inner = `${indent}  `;
  if (typeof value !== "object") return ` ${JSON.stringify(value)}\n`;
  if (Array.isArray(value)) {
    if (value.every((each) => typeof each !== "object")) return ` ${JSON.stringify(value).replaceAll('","', '", "')}\n`;
    return `\n${value.map((each) => `${indent}-${yaml(each, inner).replace(/^\n\s+/, " ")}`).join("")}`;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return " {}\n";
  return `\n${entries.map(([key, each]) => `${indent}${key}:${yaml(each, inner)}`).join("")}`;
}

/** All manifests as one YAML file, with what has to be there before. */
export function manifestFile(deployment: Deployment): string {
  const { secret, configMap, scenario, name, namespace } = deployment;
  const at = namespace ? ` -n ${namespace}` : "";
  const before = [
    `# Before: kubectl${at} create secret generic ${secret} --from-literal=token=$(openssl rand -hex 32)`,
    ...(configMap ? [`#         kubectl${at} create configmap ${configMap} --from-file=dist/k8s/${scenario}.js`] : []),
    `# The verdict is the exit code of the Job ${coordinatorName(deployment)}. The TestRun ${name} ends as "finished" whatever it is.`,
  ];
  return `${before.join("\n")}\n${manifestsOf(deployment)
    .map((each) => `---${yaml(each)}`)
    .join("")}`;
}

/** What is asked wrongly, with exit code 104. */
const refused = (message: string) => new Problem(message, exitCodes.settings);

/** Settings that the manifests set themselves. */
const ownSettings: readonly string[] = [
  "RUNNERS",
  "COORDINATOR",
  "COORDINATOR_TOKEN",
  "COORDINATOR_TOKEN_FILE",
  "RESULTS",
];

/** @throws Problem for a setting that no run would take, that is a secret, or that the manifests set themselves. */
function checkSettings(given: Environment): void {
  for (const name of Object.keys(given)) {
    if (ownSettings.includes(name)) throw refused(`-e ${name}: the manifests set it themselves; leave it out`);
  }
  let parsed: ReturnType<typeof parseSettings>;
  try {
    parsed = parseSettings(given, {});
  } catch (error) {
    if (error instanceof SettingError) throw refused(error.message);
    throw error;
  }
  const names = (Object.keys(given) as SettingName[]).filter((name) => name in settings);
  for (const [name, value] of Object.entries(shownSettings(parsed, names))) {
    if (!JSON.stringify(value).includes("(set)")) continue;
    throw refused(`-e ${name}: whoever reads the manifest would know it; use --secret-setting ${name}=SECRET:KEY`);
  }
}

function pair(text: string, all: Record<string, string>): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError(`${text} is not NAME=value`);
  return { ...all, [text.slice(0, at)]: text.slice(at + 1) };
}

function whole(least: number): (text: string) => number {
  return (text) => {
    if (!/^\d{1,7}$/.test(text) || Number(text) < least)
      throw new InvalidArgumentError(`a whole number from ${least} is needed`);
    return Number(text);
  };
}

const dnsLabel = /^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$/;

export function commandLine(): Command {
  return new Command("k8s")
    .description("Prints the Kubernetes manifests of a run of several runners under k6-operator")
    .argument("<scenario>", "the scenario")
    .requiredOption("-n, --runners <n>", "how many runners", whole(2))
    .option("-e, --env <NAME=value>", "a setting of the run (several times)", pair, {})
    .option("--secret-setting <NAME=SECRET:KEY>", "a setting that a secret holds, such as API_KEY=llm:key", pair, {})
    .option("--name <name>", "name of the TestRun (default: the scenario's)")
    .option("--namespace <name>", "namespace (default: kubectl's)")
    .option("--image <image>", "image of runners and coordinator", "tokenclock:latest")
    .option("--bundles <dir>", "folder of the bundles in the image", "/opt/tokenclock/dist")
    .option("--config-map <name>", "take the bundle from this ConfigMap; it is made in dist/k8s")
    .option("--claim <name>", "a PersistentVolumeClaim for the result")
    .option("--secret <name>", "the secret with the token (default: the coordinator's name)")
    .option("--deadline <seconds>", "time after which the coordinator is ended", whole(60), 6 * 3600);
}

interface Options {
  runners: number;
  env: Record<string, string>;
  secretSetting: Record<string, string>;
  name?: string;
  namespace?: string;
  image: string;
  bundles: string;
  configMap?: string;
  claim?: string;
  secret?: string;
  deadline: number;
}

/** What the command line asks for. @throws Problem, CommanderError */
export function deploymentOf(argv: readonly string[]): Deployment {
  const program = commandLine().exitOverride();
  program.parse([...argv], { from: "user" });
  const { runners, env, secretSetting, deadline, ...options } = program.opts<Options>();
  const scenario = program.args[0] ?? "";
  const names = scenarioNames();
  if (!names.includes(scenario)) throw refused(noScenario(scenario, names));
  if (scenario === "capacity") {
    throw refused(
      "capacity cannot be divided: its search decides by what one process has measured; run it as one process, with `npm start capacity`",
    );
  }
  const name = options.name ?? scenario;
  // Kubernetes gives pods variables named after services, and TOKENCLOCK_... would be taken for settings.
  if (name.startsWith("tokenclock"))
    throw refused(`--name ${name} is kept free for settings; take another, such as sweep-1`);
  if (!dnsLabel.test(name)) throw refused(`--name ${name} is not a name such as sweep-1, of at most 42 characters`);
  let given: Environment;
  try {
    given = gatherSettings(env, {});
  } catch (error) {
    if (error instanceof SettingError) throw refused(error.message);
    throw error;
  }
  checkSettings(given);
  const secretSettings: Record<string, readonly [string, string]> = {};
  for (const [setting, place] of Object.entries(secretSetting)) {
    const [, from, key] = /^([^:]+):(.+)$/.exec(place) ?? [];
    if (!(setting in settings) || from === undefined || key === undefined) {
      throw refused(`--secret-setting ${setting}=${place} is not a setting and SECRET:KEY`);
    }
    secretSettings[setting] = [from, key];
  }
  if (given.BASE_URL === undefined && !("BASE_URL" in secretSettings)) {
    throw refused("BASE_URL is not set: name the server, such as -e BASE_URL=http://vllm:8000/v1");
  }
  const secret = options.secret ?? `${name}-coordinator`;
  return { ...options, scenario, name, runners, secret, secretSettings, settings: given, deadlineS: deadline };
}

/** The command; resolves to the exit code. @throws Problem for what is asked wrongly. */
export async function main(argv: readonly string[]): Promise<number> {
  let deployment: Deployment;
  try {
    deployment = deploymentOf(argv);
  } catch (error) {
    // Commander has printed its own.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.settings;
    throw error;
  }
  if (deployment.configMap) {
    // Without a source map: k6 warns of one that is not there, and the operator's initializer takes that for an error.
    await bundle([path.join(root, "scenarios", `${deployment.scenario}.ts`)], path.join(distDir, "k8s"), [], false);
  }
  process.stdout.write(manifestFile(deployment));
  return 0;
}

if (process.argv[1] === __filename) void runProgram(() => main(process.argv.slice(2)));
