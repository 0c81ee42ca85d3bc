/** Two network namespaces, joined by a veth pair: two hosts on one machine. Linux, as root, with iproute2. */
import { spawnSync } from "node:child_process";

export interface Namespaces {
  /** What runs a command on a host, and the name of its interface. */
  readonly client: readonly string[];
  readonly server: readonly string[];
  readonly clientDevice: string;
  readonly serverDevice: string;
  /** The server's addresses. */
  readonly address: { ipv4: string; ipv6: string };
  remove(): void;
}

/** Makes them, or says why that cannot be done here. */
export function makeNamespaces(): Namespaces | { refused: string } {
  const [client, server] = [`tc${process.pid}c`, `tc${process.pid}s`];
  const ip = (...args: string[]) => spawnSync("ip", args, { encoding: "utf8" });
  const remove = () => {
    process.off("exit", remove);
    for (const name of [client, server]) ip("netns", "delete", name);
  };
  process.once("exit", remove);
  const steps = [
    ["netns", "add", client],
    ["netns", "add", server],
    ["link", "add", "tc-c", "netns", client, "type", "veth", "peer", "name", "tc-s", "netns", server],
    ["-n", client, "addr", "add", "192.0.2.1/24", "dev", "tc-c"],
    ["-n", server, "addr", "add", "192.0.2.2/24", "dev", "tc-s"],
    ["-n", client, "addr", "add", "fd00:7c::1/64", "dev", "tc-c", "nodad"],
    ["-n", server, "addr", "add", "fd00:7c::2/64", "dev", "tc-s", "nodad"],
    ...[client, server].flatMap((name) => [
      ["-n", name, "link", "set", "lo", "up"],
      ["-n", name, "link", "set", name === client ? "tc-c" : "tc-s", "up"],
    ]),
  ];
  for (const step of steps) {
    const { error, status, stderr } = ip(...step);
    if (error || status !== 0) {
      remove();
      return { refused: `ip ${step.join(" ")}: ${error?.message ?? stderr.trim()}` };
    }
  }
  return {
    client: ["ip", "netns", "exec", client],
    server: ["ip", "netns", "exec", server],
    clientDevice: "tc-c",
    serverDevice: "tc-s",
    address: { ipv4: "192.0.2.2", ipv6: "fd00:7c::2" },
    remove,
  };
}
