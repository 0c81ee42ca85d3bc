/** All classes of a mix as one. Pure. */
import type { LevelSummary } from "./level-summary";
import { shortNumber } from "./table";

/** What a run came to, whatever class a request was of, warm-up and drain included. */
export function togetherLine({ requests, failed, outputThroughput, requestThroughput }: LevelSummary): string {
  return `all classes together: ${requests} requests, ${failed} failed, ${shortNumber(outputThroughput)} tok/s, ${shortNumber(requestThroughput)} req/s`;
}
