/** The descriptions that are shipped, by the name that API takes. Loaded by those that use one. */
import type { ReadyWire } from "../settings/apis";
import converse from "./wires/converse.json";
import kserve from "./wires/kserve.json";
import llamaCompletion from "./wires/llama-completion.json";
import ollamaChat from "./wires/ollama-chat.json";
import ollamaGenerate from "./wires/ollama-generate.json";
import rerank from "./wires/rerank.json";
import score from "./wires/score.json";
import sglang from "./wires/sglang.json";
import speech from "./wires/speech.json";
import tgi from "./wires/tgi.json";
import triton from "./wires/triton.json";

/** As they stand in their files; checked when one is used. */
export const readyWires: Readonly<Record<ReadyWire, unknown>> = {
  "ollama-chat": ollamaChat,
  "ollama-generate": ollamaGenerate,
  tgi: tgi,
  sglang: sglang,
  triton: triton,
  kserve: kserve,
  "llama-completion": llamaCompletion,
  converse: converse,
  speech: speech,
  rerank: rerank,
  score: score,
};
