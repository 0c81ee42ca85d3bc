/** A setting whose value cannot be used. The message is one line that names the setting, the value and what is allowed. */
export class SettingError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "SettingError";
  }
}

/** Whether an error is a SettingError, whichever part of a bundle threw it: one that is loaded apart has its own class. */
export function isSettingError(error: unknown): error is SettingError {
  return error instanceof Error && error.name === "SettingError";
}
