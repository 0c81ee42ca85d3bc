/** Draws from distributions: lengths and waits, and groups of prompts. What other files of lib/lazy.ts draw by comes from here. */
export * from "./distribution";
export * from "./prefix-groups";
