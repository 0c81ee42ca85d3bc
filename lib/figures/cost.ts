/** What a level's requests cost, from the prices of tokens or of the server's time. Pure. */
import type { LevelSummary } from "./level-summary";

/** Prices in dollars: a million tokens each, or an hour of the server. */
export interface Prices {
  readonly input?: number;
  readonly output?: number;
  /** The price of input tokens from the server's prefix cache; without it they cost as much as others. */
  readonly cached?: number;
  readonly hour?: number;
}

/** Dollars. */
export interface Cost {
  /** A completed request. */
  readonly perRequest: number;
  /** A million output tokens of them; absent where there are none. */
  readonly perMillionOutputTokens?: number;
  /** A million output tokens of requests that met every SLO, which have to pay for all others; absent as perGoodRequest. */
  readonly perMillionGoodOutputTokens?: number;
  /** A request that met every SLO, which has to pay for those that did not; absent without SLOs and where none did. */
  readonly perGoodRequest?: number;
}

type Costed = Pick<
  LevelSummary,
  | "requests"
  | "abandoned"
  | "completed"
  | "inputTokens"
  | "outputTokens"
  | "cachedTokens"
  | "cachedSource"
  | "tokenSources"
  | "durationS"
  | "requestThroughput"
  | "outputThroughput"
  | "goodShare"
  | "goodOutputTokens"
>;

/**
 * The cost of a level: by tokens, those of its completed steady requests; by the hour, the server's time over what it gave in
 * the steady window. A text says why it is not known: nothing is guessed.
 */
export function costOf(level: Costed, prices: Prices): Cost | string {
  if (level.completed === 0) return "no request completed";
  const { perRequest, perOutputToken } =
    prices.hour === undefined ? byTokens(level, prices) : byHour(level, prices.hour);
  if (typeof perRequest === "string") return perRequest;
  const good = level.goodShare === undefined ? 0 : level.goodShare * (level.requests - (level.abandoned ?? 0));
  return {
    perRequest,
    ...(perOutputToken === undefined ? {} : { perMillionOutputTokens: perOutputToken * 1e6 }),
    ...(perOutputToken === undefined || !level.goodOutputTokens
      ? {}
      : { perMillionGoodOutputTokens: (perOutputToken * 1e6 * level.outputTokens) / level.goodOutputTokens }),
    ...(good > 0 ? { perGoodRequest: (perRequest * level.completed) / good } : {}),
  };
}

interface Unit {
  perRequest: number | string;
  perOutputToken?: number;
}

function byHour({ requestThroughput, outputThroughput }: Costed, hour: number): Unit {
  const perSecond = hour / 3600;
  if (requestThroughput === 0) return { perRequest: "no request completed in the steady window" };
  return {
    perRequest: perSecond / requestThroughput,
    ...(outputThroughput > 0 ? { perOutputToken: perSecond / outputThroughput } : {}),
  };
}

function byTokens(level: Costed, { input = 0, output = 0, cached }: Prices): Unit {
  const { inputTokens, outputTokens, completed } = level;
  if ((level.tokenSources.chunks ?? 0) > 0) {
    return { perRequest: "the server's usage is missing in some replies, so that their tokens are not known" };
  }
  if (input > 0 && inputTokens === 0) return { perRequest: "the server does not report input tokens" };
  if (cached !== undefined && level.cachedSource !== "usage") {
    return { perRequest: "the server's usage does not report cached tokens, which PRICE_CACHED is for" };
  }
  const fromCache = cached === undefined ? 0 : (level.cachedTokens ?? 0);
  const dollars = ((inputTokens - fromCache) * input + fromCache * (cached ?? 0) + outputTokens * output) / 1e6;
  return {
    perRequest: dollars / completed,
    ...(outputTokens > 0 ? { perOutputToken: dollars / outputTokens } : {}),
  };
}

/** The settings that say what tokens or the server cost. */
export interface PriceSettings {
  readonly PRICE_INPUT?: number;
  readonly PRICE_OUTPUT?: number;
  readonly PRICE_CACHED?: number;
  readonly PRICE_HOUR?: number;
}

/** The prices that are set. */
export function pricesOf(config: PriceSettings): Prices | undefined {
  const { PRICE_INPUT: input, PRICE_OUTPUT: output, PRICE_CACHED: cached, PRICE_HOUR: hour } = config;
  return input === undefined && hour === undefined ? undefined : { input, output, cached, hour };
}
