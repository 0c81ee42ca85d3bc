/** What is found out once a run, for all VUs. One file to load by require(): each costs every VU four objects. Pure. */
export { requestHeaders } from "./headers";
export { findModel } from "./model-name";
export { findTemplateTokens, findTokensPerWord } from "./tokenizer";
