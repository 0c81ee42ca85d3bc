/** The module of https://github.com/phymbert/xk6-sse, as far as client-sse.ts uses it. */
declare module "k6/x/sse" {
  interface SseEvent {
    readonly id: string;
    readonly name: string;
    readonly comment: string;
    readonly data: string;
    /** When its bytes arrived, ms since the Unix epoch. This project's module has it, xk6-sse does not. */
    readonly arrivalMs?: number;
  }
  interface SseStream {
    /** When the request's last byte was sent, on the same clock. This project's module has it, xk6-sse does not. */
    readonly sentMs?: number;
    on(event: "open", handler: () => void): void;
    on(event: "event", handler: (event: SseEvent) => void): void;
    on(event: "error", handler: (error: { error(): string }) => void): void;
    close(): void;
  }
  interface SseParams {
    method?: string;
    headers?: Record<string, string>;
    body?: string;
    tags?: Record<string, string>;
  }
  interface SseResponse {
    readonly url: string;
    readonly status: number;
    readonly headers: Record<string, string>;
    readonly error: string;
  }
  const sse: {
    /** Blocks the VU until the stream has ended; handlers run meanwhile. */
    open(url: string, params: SseParams, setUp: (stream: SseStream) => void): SseResponse;
  };
  export default sse;
}
