/** A server that answers with recorded bytes, cut into writes as a test wants them. */
import net from "node:net";

/** One answer: its bytes as they were recorded, in pieces; the connection ends after it if `close` is set. */
export interface Answer {
  pieces: Iterable<Buffer>;
  close: boolean;
}

export interface ReplayServer {
  readonly origin: string;
  /** How many POSTs were answered. */
  answered(): number;
  stop(): Promise<void>;
}

const models = '{"object":"list","data":[{"id":"tiny","object":"model"}]}';

/** Starts a server that answers the n-th POST with answers[n], any GET with a list of one model. */
export async function startReplay(answers: readonly Answer[]): Promise<ReplayServer> {
  let posts = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => sockets.delete(socket));
    // The client may leave in the middle of an answer; its record says so.
    socket.on("error", () => socket.destroy());
    let received = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      if (!socket.writable) return;
      received = Buffer.concat([received, bytes]);
      const end = received.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = received.subarray(0, end).toString("latin1");
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (received.length < end + 4 + length) return;
      received = received.subarray(end + 4 + length);
      const post = head.startsWith("POST");
      // What is asked of the server before the load, such as its tokenizer, is not part of the replay.
      if (!post || /^POST \/(tokenize|apply-template) /.test(head)) {
        const status = post ? "404 Not Found" : "200 OK";
        socket.write(
          `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${models.length}\r\n\r\n${models}`,
        );
        return;
      }
      const answer = answers[posts++];
      if (answer) void send(socket, answer);
      else socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    origin: `http://127.0.0.1:${port}`,
    answered: () => posts,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

async function send(socket: net.Socket, { pieces, close }: Answer): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return;
    // A write is a segment of its own when the one before it has been handed to the kernel.
    await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
  }
  // As a server that closes its end does: what a client sends from here on is answered by a reset.
  if (close) socket.destroySoon();
}

/** The bytes in pieces of one. */
export function* byteByByte(bytes: Buffer): Generator<Buffer> {
  for (let i = 0; i < bytes.length; i++) yield bytes.subarray(i, i + 1);
}

/** The bytes cut at random places, the same for the same seed. */
export function* randomSplits(bytes: Buffer, seed: number): Generator<Buffer> {
  let state = seed >>> 0 || 1;
  for (let at = 0; at < bytes.length; ) {
    // Marsaglia's xorshift32.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    const size = 1 + (state % 3 === 0 ? state % 7 : state % 400);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}
