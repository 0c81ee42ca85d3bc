/** The datasets that ship, by the name that DATASET knows them under: their files in datasets/. */
export const shippedDatasets: Readonly<Record<string, string>> = {
  prompts: "prompts.jsonl",
  chats: "chats.jsonl",
  "token-ids": "token-ids.jsonl",
};
