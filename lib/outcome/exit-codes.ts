/** How every command of this project ends: one meaning a code, whether k6, npm start, gate or compare ends. Pure. */

/** The exit codes by name. k6's own numbers are kept where k6 has the meaning already. Their texts are in exit-code-texts.ts: bundles need none. */
export const exitCodes = {
  passed: { code: 0 },
  endedForAll: { code: 95 },
  inconclusive: { code: 96 },
  notValid: { code: 98 },
  failed: { code: 99 },
  settings: { code: 104 },
  interrupted: { code: 105 },
  exception: { code: 107 },
  aborted: { code: 108 },
} as const;

/** The name of an exit code. */
export type ExitCodeName = keyof typeof exitCodes;
