/** What failed, in the server's words. */
import type { Section } from "../answer";
import { runColumn, type ShownRun } from "./runs";

/** Longer messages are cut: some servers send a whole page. */
const longest = 400;

export function failuresSection(shown: readonly ShownRun[]): Section {
  const rows = shown.flatMap(({ run, label }) =>
    run.failures.map(({ failure, message, count, level, status, atNs }) => ({
      run: label,
      failure,
      requests: count,
      status: status || null,
      level: level || "none",
      first_at_s: atNs / 1e9,
      message: message.length > longest ? `${message.slice(0, longest)}...` : message || "(no message)",
    })),
  );
  return {
    heading: "What failed",
    pictures: [],
    tables:
      rows.length === 0
        ? []
        : [
            {
              name: "failure_messages",
              title: "Failed requests by class and message",
              note: "All phases count, warm-up and drain included. The message is the server's own where it gave one, else the system's; level, status and time are those of the first such request.",
              columns: [
                ...runColumn(shown),
                { key: "failure", title: "Failure" },
                { key: "requests", title: "Requests", format: "integer" },
                { key: "status", title: "Status", format: "integer" },
                { key: "level", title: "First in level" },
                { key: "first_at_s", title: "First at", unit: "s" },
                { key: "message", title: "Message", wrap: true },
              ],
              rows,
            },
          ],
  };
}
