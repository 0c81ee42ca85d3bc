/** Addresses of the API's paths. Pure. */

/** A path below a base address, before the base's query, which stays: Azure's holds the API's version. */
export function joined(base: string, path: string): string {
  const [address = "", query] = base.split(/\?(.*)/s);
  return query === undefined ? address + path : `${address}${path}${path.includes("?") ? "&" : "?"}${query}`;
}

/** Whether keys go into a header of Azure's: its addresses, and gateways that stand in for it, name the API's version. */
export function isAzure(base: string): boolean {
  return (
    /[?&]api-version=/.test(base) ||
    /^https:\/\/[^/]*\.(openai\.azure|cognitiveservices\.azure|services\.ai\.azure)\.com\b/.test(base)
  );
}
