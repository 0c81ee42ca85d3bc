/** What a model is asked: text, a conversation, or token ids. */
export type Input =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "messages"; readonly messages: readonly { readonly role: string; readonly content: unknown }[] }
  | { readonly kind: "tokenIds"; readonly tokenIds: readonly number[] };

/** One prompt of the workload with the lengths that go with it. */
export interface Prompt {
  readonly input: Input;
  /** Length in tokens as the workload knows it; 0 = unknown. */
  readonly inputTokens: number;
  /** Length of the answer to ask for. */
  readonly outputTokens: number;
  /** The length is the most that the answer may have: it is not forced. */
  readonly ceiling?: boolean;
  /** Further fields of the body, from the row of a file. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Path or address instead of the client's own. */
  readonly url?: string;
}
