/** Requests in recordings of other tools: HAR files and OpenTelemetry spans. */
import { Fields, isObject, shown } from "./fields";
import { bodyRow } from "./request";
import type { Format, Json } from "./row";

/** Entries of a HAR file. Headers are not read: they hold keys. */
export const har: Format = {
  name: "HAR",
  matches: (record) => isObject(record) && isObject(record.request) && record.startedDateTime !== undefined,
  read(record, notes) {
    if (!isObject(record) || !isObject(record.request)) throw new Error("has no request");
    const { method, url, postData } = record.request as { method?: unknown; url?: unknown; postData?: unknown };
    // A recording holds other requests of the page, too.
    if (
      method !== "POST" ||
      !isObject(postData) ||
      !/\/(completions|responses|messages|embeddings)\b/.test(String(url))
    ) {
      notes.remark("entries that are no request to a model are left out");
      return undefined;
    }
    const entry = new Fields(record, notes);
    const time = entry.get("startedDateTime");
    entry.get("request");
    entry.close();
    return [
      { ...bodyRow(postData.text, "request.postData.text", notes, String(url).split("?")[0]), time: String(time) },
    ];
  },
};

/** Spans of inference-perf's OpenTelemetry traces, whose attributes hold the messages. */
export const spans: Format = {
  name: "OpenTelemetry spans",
  matches: (record) => isObject(record) && isObject(record.attributes) && record.span_id !== undefined,
  read(record, notes) {
    if (!isObject(record) || !isObject(record.attributes)) throw new Error("has no attributes");
    const span = new Fields(record, notes);
    const attributes = new Fields(record.attributes, notes);
    const messages = attributes.json("gen_ai.input.messages");
    if (messages === undefined) {
      notes.remark("spans without gen_ai.input.messages are left out");
      return undefined;
    }
    const start = span.get("start_time");
    const parent = span.get("parent_span_id");
    span.skip(aboutSpan);
    if (parent !== undefined)
      throw new Error(
        `parent_span_id=${shown(parent)}: the span waits for another, which cannot be sent yet; take parent_span_id out to send each by itself`,
      );
    const body: Record<string, unknown> = { messages };
    for (const [name, field] of Object.entries(requestAttributes)) {
      const value = attributes.get(name);
      if (value !== undefined) body[field] = value;
    }
    attributes.close();
    span.get("attributes");
    span.close();
    return [
      { ...bodyRow(body as Json, "gen_ai.input", notes), ...(start === undefined ? {} : { time: String(start) }) },
    ];
  },
};

const aboutSpan = ["span_id", "name", "kind", "end_time", "status", "trace_id"];

const requestAttributes: Readonly<Record<string, string>> = {
  "gen_ai.request.model": "model",
  "gen_ai.request.max_tokens": "max_tokens",
  "gen_ai.request.temperature": "temperature",
  "gen_ai.request.top_p": "top_p",
};
