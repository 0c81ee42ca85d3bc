/** Parts of the finish reasons with which a server says that it did not finish the answer; as reason.go in the extension has them. */
const failing =
  /error|fail|abort|cancel|timeout|timed_out|overload|unavailable|insufficient|interrupt|exception|disconnect|malformed|filter|sensitive|safety|block|prohibit|recitation|spii|refus|reject|denied|violat/i;

/** Whether a finish reason means that the answer is not complete. */
export function meansFailure(reason: string): boolean {
  return failing.test(reason);
}
