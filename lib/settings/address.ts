/** Addresses of the API's paths. Pure. */

/** A path below a base address, before the base's query, which stays: Azure's holds the API's version. */
export function joined(base: string, path: string): string {
  // Every VU does this. Its first regular expression would cost it 15 kB.
  const at = base.indexOf("?");
  if (at < 0) return base + path;
  return `${base.slice(0, at)}${path}${path.includes("?") ? "&" : "?"}${base.slice(at + 1)}`;
}

/** Whether keys go into a header of Azure's: its addresses, and gateways that stand in for it, name the API's version. */
export function isAzure(base: string): boolean {
  return (
    /[?&]api-version=/.test(base) ||
    /^https:\/\/[^/]*\.(openai\.azure|cognitiveservices\.azure|services\.ai\.azure)\.com\b/.test(base)
  );
}

/** Whether two addresses are of one scheme, host and port (or one socket), so that a key for the one may go to the other. */
export function sameHost(url: string, base: string): boolean {
  const origin = originOf(url);
  return origin !== undefined && origin === originOf(base);
}

/** Whether an address may be sent the key and HEADERS: it is of BASE_URL's server, or of one that KEY_ORIGINS names. */
export function mayHaveKey(url: string, { BASE_URL: base, KEY_ORIGINS: more }: KeyOrigins): boolean {
  return [base, ...more].some((each) => sameHost(url, each));
}

/** The servers that a key is for. */
export interface KeyOrigins {
  readonly BASE_URL: string;
  readonly KEY_ORIGINS: readonly string[];
}

/** An address without the user name and password it may hold, and without the values of its query: keys are passed there. */
export function showAddress(address: string): string {
  return address.replace(/\/\/[^/@]*@/, "//").replace(/([?&][^=&#]*=)[^&#]*/g, "$1****");
}

function originOf(url: string): string | undefined {
  const socket = /^unix:[^:]+:/.exec(url)?.[0];
  if (socket !== undefined) return socket;
  // A host ends before what stands behind it; what stands before its last @ is a user's name and password.
  const [, scheme = "", authority] = /^(https?):\/\/([^/?#\\]+)/i.exec(url) ?? [];
  if (authority === undefined) return undefined;
  const host = authority.slice(authority.lastIndexOf("@") + 1).toLowerCase();
  const standard = scheme.toLowerCase() === "https" ? ":443" : ":80";
  return `${scheme.toLowerCase()}://${/:\d+$/.test(host) ? host : host + standard}`;
}
