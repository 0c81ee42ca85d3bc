/** The steps of action.yml as GitHub runs them: what is in the file is what a test runs. It reads no other YAML than that file's. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { root } from "../../build/paths";

/** A step that runs a command. */
export interface ActionStep {
  readonly name: string;
  /** With which condition; absent = none but that no step before has failed. */
  readonly condition?: string;
  readonly run: string;
  readonly env: Readonly<Record<string, string>>;
}

/** What expressions read: `inputs`, `github` and `steps`, as nested objects. */
export type ActionContext = Readonly<Record<"inputs" | "github" | "steps", object>>;

const text = (): string => readFileSync(path.join(root, "action.yml"), "utf8");

const unquoted = (value: string): string => /^(['"])(.*)\1$/.exec(value)?.[2] ?? value;

/** The inputs that have a default, and their defaults. */
export function defaultInputs(): Record<string, string> {
  const [, section = ""] = /^inputs:\n((?: .*\n|\n)+)/m.exec(text()) ?? [];
  return Object.fromEntries(
    [...section.matchAll(/^ {2}([\w-]+):\n(?: {4}.*\n)*? {4}default: (.*)\n/gm)].map(([, name, value = ""]) => [
      name,
      unquoted(value),
    ]),
  );
}

/** The step of this name. @throws Error where action.yml has none that runs a command. */
export function actionStep(name: string): ActionStep {
  const block = text()
    .split(/^ {4}- name: /m)
    .find((each) => each.startsWith(`${name}\n`));
  const of = (key: string) => new RegExp(`^ {6}${key}: (.*)$`, "m").exec(block ?? "")?.[1];
  const run = of("run");
  if (block === undefined || run === undefined || of("shell") !== "sh")
    throw new Error(`action.yml has no step ${name}`);
  const condition = of("if");
  const env = [...block.matchAll(/^ {8}(\w+): (.*)$/gm)].map(([, key = "", value = ""]) => [key, value]);
  return { name, run: unquoted(run), env: Object.fromEntries(env), ...(condition === undefined ? {} : { condition }) };
}

/** The value of an expression, with ||, &&, == and !=, format() and always() as GitHub has them. */
export function expressionOf(expression: string, context: ActionContext): unknown {
  const get = (at: string) => {
    let value: unknown = context;
    for (const key of at.split(".")) value = (value as Record<string, unknown> | undefined)?.[key];
    return value ?? "";
  };
  const format = (pattern: string, ...values: unknown[]) => pattern.replace(/\{(\d)\}/g, (_, k) => String(values[k]));
  const script = expression.replace(/\b(?:inputs|github|steps)(?:\.[\w-]+)+/g, (at) => `get(${JSON.stringify(at)})`);
  return new Function("get", "format", "always", `return (${script});`)(get, format, () => true);
}

/** A text with its ${{ expressions }} in place. */
export const filledIn = (value: string, context: ActionContext): string =>
  value.replace(/\$\{\{ (.*?) \}\}/g, (_, expression: string) => String(expressionOf(expression, context)));
