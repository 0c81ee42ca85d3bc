/** The bill of materials of an archive, CycloneDX 1.6 in JSON. */
import { createHash } from "node:crypto";
import type { Component } from "./components";

/** The package URL of a component. */
function packageUrl({ type, name, version }: Component): string {
  const encoded = name.split("/").map(encodeURIComponent).join("/");
  return `pkg:${type}/${encoded}@${encodeURIComponent(version)}`;
}

/** npm's integrities are hashes of archives in base64; Go's h1 is one of a list of files, which CycloneDX has no name for. */
function hashesOf({ integrity }: Component) {
  const [, base64] = /^sha512-(.+)$/.exec(integrity) ?? [];
  if (base64 !== undefined)
    return { hashes: [{ alg: "SHA-512", content: Buffer.from(base64, "base64").toString("hex") }] };
  return integrity === "" ? {} : { properties: [{ name: "tokenclock:go:h1", value: integrity }] };
}

/** The document as text. Its serial number follows from what it lists, so that the same release has the same one. */
export function sbomOf(version: string, target: string, epochS: number, components: readonly Component[]): string {
  const sorted = [...components].sort((a, b) => (packageUrl(a) < packageUrl(b) ? -1 : 1));
  const listed = sorted.map((each) => ({
    type: each.type === "generic" ? "application" : "library",
    "bom-ref": packageUrl(each),
    name: each.name,
    version: each.version,
    licenses: [/[ (]/.test(each.licence) ? { expression: each.licence } : { license: { id: each.licence } }],
    purl: packageUrl(each),
    ...hashesOf(each),
  }));
  const own = `pkg:generic/tokenclock@${version}?platform=${encodeURIComponent(target)}`;
  const digest = createHash("sha256")
    .update(JSON.stringify([own, listed]))
    .digest("hex");
  const uuid = [
    ...[digest.slice(0, 8), digest.slice(8, 12), `5${digest.slice(13, 16)}`, `8${digest.slice(17, 20)}`],
    digest.slice(20, 32),
  ].join("-");
  const document = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuid}`,
    version: 1,
    metadata: {
      timestamp: new Date(epochS * 1000).toISOString().replace(".000Z", "Z"),
      component: {
        ...{ type: "application", "bom-ref": own, name: "tokenclock", version, purl: own },
        licenses: [{ expression: "Apache-2.0 AND AGPL-3.0-only" }],
      },
    },
    components: listed,
    dependencies: [{ ref: own, dependsOn: listed.map(({ purl }) => purl) }],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
