/** What k6 gives every script beside its modules, as far as @types/k6 leaves it out. */
declare const console: Record<"log" | "warn" | "error", (line: string) => void>;
