/**
 * The description of an API that is not built in: what goes in the file of WIRE, or in a script's setting of that name. docs/wires.md
 * says what each field means. Pure.
 */

export const messageStyles = ["openai", "anthropic", "converse", "ollama"] as const;

/** Whose shape messages have. */
export type MessageStyle = (typeof messageStyles)[number];

/** A JSON pointer (RFC 6901), in which `*` stands for all items of an array, or several: each value that is there counts. */
export type Pointers = string | readonly string[];

/** A value that means something where it stands, such as {at: "/done", is: true}. */
export interface WireValue {
  readonly at: Pointers;
  readonly is: string | number | boolean;
}

/** What ends a stream: data that is no JSON, an event's name, a value, or nothing but the end of the body. */
export type WireEnd = { readonly data: string } | { readonly event: string } | WireValue | { readonly body: true };

/** Where in each event, line or reply what is measured stands; docs/wires.md says what each field means. */
export interface WireResponse {
  readonly format: "sse" | "ndjson" | "json" | "auto";
  readonly text?: Pointers;
  readonly cumulative?: boolean;
  readonly reasoning?: Pointers;
  readonly toolCalls?: {
    readonly name?: Pointers;
    readonly arguments?: Pointers;
    readonly id?: Pointers;
    readonly index?: Pointers;
  };
  readonly media?: Pointers;
  readonly items?: Pointers;
  readonly finishReason?: Pointers;
  readonly end?: WireEnd | readonly WireEnd[];
  readonly error?: Pointers;
  readonly usage?: {
    readonly input?: Pointers;
    readonly output?: Pointers;
    readonly cached?: Pointers;
    readonly reasoning?: Pointers;
    readonly total?: Pointers;
    readonly cacheRead?: Pointers;
    readonly cacheWrite?: Pointers;
  };
  readonly events?: readonly string[];
  readonly eventName?: Pointers;
  readonly noOutput?: WireValue | readonly WireValue[];
  readonly ignore?: Pointers;
}

/** How a request is made. In texts `{{model}}` and the other places are filled in; docs/wires.md lists them. */
export interface WireRequest {
  /** Below BASE_URL, such as /api/chat; may hold {{model}}. */
  readonly path: string;
  readonly method?: "POST" | "PUT";
  /** One with {{api_key}} takes the place of `Authorization: Bearer`; without a key it is left out. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A text that is one place becomes its value, a number or a list; a member whose place has no value is left out. */
  readonly body: Readonly<Record<string, unknown>>;
  /** The shape of {{messages}}; by default OpenAI's. */
  readonly messages?: MessageStyle;
  /** Where the server lists its models: the path below BASE_URL and a pointer to the first one's name. */
  readonly models?: { readonly path: string; readonly at: string };
}

/** An API: what goes in the file of WIRE, or in a script's setting of that name. */
export interface WireDescription {
  /** Stands for it in messages and results; by default the file's name. */
  readonly name?: string;
  readonly request: WireRequest;
  readonly response: WireResponse;
  /** What differs with STREAM=false. Without it the same path is asked, and {{stream}} in the body tells the server. */
  readonly reply?: { readonly path?: string; readonly response: WireResponse };
}
