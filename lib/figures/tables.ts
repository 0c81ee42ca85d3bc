/** The tables that files of lib/lazy.ts read in several runtimes: one for all of them (build/bundle.ts). */
export * from "./metrics-table";
export * from "./server-presets";
