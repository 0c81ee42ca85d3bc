/** What SALT may look like. */
export const saltPattern = /^[\w.-]{1,64}$/;

/** A salt for a run that was given none: 16 hexadecimal digits. `random` gives uniform numbers in [0, 1). */
export function newSalt(random: () => number = Math.random): string {
  // k6 seeds Math.random of every VU from the system's source of randomness.
  const digits = () =>
    Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0");
  return digits() + digits();
}
