/** What plans and holds conversations, loaded together: see lib/lazy.ts. */
export { converse } from "./converse";
export { scriptedTool } from "./scripted-tool";
export { recordedSessions, syntheticSessions } from "./sessions";
export { parseWait } from "./wait";
