import assert from "node:assert/strict";
import { test } from "node:test";
import { everyWord } from "../workload/words";
import { type Ask, findTemplateTokens, findTokensPerWord } from "./tokenizer";

const reply = (body: object) => ({ status: 200, body: JSON.stringify(body) });
const notFound = { status: 404, body: "Not Found" };
/** A token a word, as most vocabularies have them. */
const tokensOf = (text: string) =>
  text
    .trim()
    .split(" ")
    .filter((word) => word !== ""); // prettier-ignore

interface Body {
  readonly prompt?: string;
  readonly content?: string;
  readonly messages?: readonly [{ readonly content: string }];
  readonly add_special_tokens?: boolean;
  readonly add_special?: boolean;
}

/** vLLM's /tokenize: a text under `prompt`, or a conversation in the model's template. */
const vllm: Ask = (path, body) => {
  const { prompt, messages, add_special_tokens: special = true } = body as Body;
  if (path !== "/tokenize") return notFound;
  if (messages) return reply({ tokens: ["<bos>", "<user>", ...tokensOf(messages[0].content), "<assistant>"] });
  const tokens = [...(special ? ["<bos>"] : []), ...tokensOf(prompt ?? "")];
  return reply({ count: tokens.length, tokens });
};

/** llama-server's: a text under `content`; a conversation becomes a text elsewhere. */
const llama: Ask = (path, body) => {
  const { content, messages, add_special: special } = body as Body;
  if (path === "/apply-template")
    return reply({ prompt: `<system> be kind <user> ${messages?.[0].content} <assistant>` });
  return reply({ tokens: content === undefined ? [] : [...(special ? ["<bos>"] : []), ...tokensOf(content)] });
};

/** Of a server that answers everything with the same page. */
const page: Ask = () => ({ status: 200, body: "<html>" });

const servers: { name: string; ask: Ask; perWord: number; chat: number | undefined; text: number | undefined }[] = [
  { name: "vLLM", ask: vllm, perWord: 1, chat: 2, text: 1 },
  { name: "llama-server", ask: llama, perWord: 1, chat: 5, text: 1 },
  { name: "a server without /tokenize", ask: () => notFound, perWord: 1, chat: undefined, text: undefined },
  { name: "a server of pages", ask: page, perWord: 1, chat: undefined, text: undefined },
];
for (const { name, ask, perWord, chat, text } of servers) {
  test(`${name}: tokens a word, and what prompts begin with by the template`, () => {
    const settings = { API: "chat", TOKEN_IDS: false, DATASET: "", MODEL: "" } as const;
    assert.equal(findTokensPerWord(settings, everyWord, ask), perWord);
    for (const API of ["chat", "responses", "messages"] as const)
      assert.equal(findTemplateTokens({ API }, "m", ask), chat);
    assert.equal(findTemplateTokens({ API: "completions" }, "m", ask), text);
    for (const API of ["json", "embeddings"] as const) assert.equal(findTemplateTokens({ API }, "m", ask), undefined);
  });
}

test("words of more than one token, and what need not be asked", () => {
  const settings = { API: "chat", TOKEN_IDS: false, DATASET: "", MODEL: "" } as const;
  const halves: Ask = () => reply({ count: (everyWord.length / 5) * 1.5 });
  assert.equal(findTokensPerWord(settings, everyWord, halves), 1.5);
  assert.equal(findTokensPerWord({ ...settings, TOKEN_IDS: true }, everyWord, halves), 1);
  assert.equal(findTokensPerWord({ ...settings, DATASET: "prompts" }, everyWord, halves), 1);
  assert.equal(tokensOf(everyWord).length, everyWord.length / 5);
});

test("a tokenizer that tells nothing of the prompt is no template that goes on for ever", () => {
  assert.equal(
    findTemplateTokens({ API: "completions" }, "m", () => reply({ tokens: [1, 2, 3] })),
    undefined,
  );
});
