/** The samples that a threshold of k6's is on. Pure. */

/** A metric with the tags that its samples have. */
export interface Selector {
  readonly metric: string;
  readonly tags: Record<string, string>;
}

/** A key of k6's thresholds taken apart: `answer_tokens{turn:t1,client:large}`. A value may hold colons, and stand in quotes. */
export function selectorOf(key: string): Selector {
  const [, metric = key, list = ""] = /^([^{]*)\{(.*)\}$/.exec(key) ?? [];
  const tags: Record<string, string> = {};
  for (const pair of list.split(",")) {
    const [, name = "", value = ""] = /^([^:]*):(.*)$/.exec(pair) ?? [];
    const bare = (text: string) => text.trim().replace(/^(["'])(.*)\1$/, "$2");
    if (name !== "") tags[bare(name)] = bare(value);
  }
  return { metric, tags };
}

/** A metric with its tags as k6 writes it. */
export function shownSelector(metric: string, tags: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries(tags).map(([name, value]) => `${name}:${value}`);
  return pairs.length > 0 ? `${metric}{${pairs.join(",")}}` : metric;
}
