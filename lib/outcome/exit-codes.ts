/** How every command of this project ends: one meaning a code, whether k6, npm start, gate or compare ends. Pure. */

/** The exit codes by name. k6's own numbers are kept where k6 has the meaning already. Their texts are in exit-code-texts.ts: bundles need none. */
export const exitCodes = {
  passed: 0,
  endedForAll: 95,
  inconclusive: 96,
  notValid: 98,
  failed: 99,
  settings: 104,
  interrupted: 105,
  exception: 107,
  aborted: 108,
} as const;

/** The name of an exit code. */
export type ExitCodeName = keyof typeof exitCodes;
