/**
 * What CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/) requires of the parts of a bill of materials that this project writes, and
 * that all references lead somewhere.
 */

type Json = Readonly<Record<string, unknown>>;

const hashLengths: Readonly<Record<string, number>> = {
  ...{ MD5: 32, "SHA-1": 40, "SHA-256": 64, "SHA-384": 96, "SHA-512": 128 },
};
const componentTypes = [
  "application",
  "framework",
  "library",
  "container",
  "platform",
  "operating-system",
  "file",
  "data",
];
const list = (value: unknown): Json[] => (Array.isArray(value) ? value : []);

/** What is wrong with a document, a line each; empty where nothing is. */
export function cycloneDxFaults(document: Json): string[] {
  const faults: string[] = [];
  const must = (holds: boolean, fault: string) => {
    if (!holds) faults.push(fault);
  };
  const metadata = (document.metadata ?? {}) as Json;
  must(document.bomFormat === "CycloneDX", "bomFormat is not CycloneDX");
  must(document.specVersion === "1.6", "specVersion is not 1.6");
  must(/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(String(document.serialNumber)), "serialNumber");
  must(Number.isInteger(document.version) && Number(document.version) >= 1, "version is no number from 1");
  must(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(String(metadata.timestamp)), "metadata.timestamp");
  const all = [...(metadata.component ? [metadata.component as Json] : []), ...list(document.components)];
  must(all.length > 1, "there is no component");
  const refs = new Set<unknown>();
  for (const component of all) {
    const who = String(component.name);
    must(componentTypes.includes(String(component.type)), `${who}: type ${component.type}`);
    must(typeof component.name === "string" && component.name !== "", "a component has no name");
    must(typeof component["bom-ref"] === "string" && !refs.has(component["bom-ref"]), `${who}: bom-ref is not its own`);
    refs.add(component["bom-ref"]);
    must(/^pkg:[a-z]+\/[^@\s]+@[^@\s]+$/.test(String(component.purl)), `${who}: purl ${component.purl}`);
    const licences = list(component.licenses);
    must(licences.length > 0, `${who}: no licence`);
    for (const { license, expression } of licences) {
      const { id, name } = (license ?? {}) as Json;
      const kinds = [id, name, expression].filter((each) => typeof each === "string" && each !== "");
      must(
        kinds.length === 1 && (expression === undefined || licences.length === 1),
        `${who}: not one licence or expression`,
      );
    }
    for (const { alg, content } of list(component.hashes)) {
      const fits = new RegExp(`^[0-9a-f]{${hashLengths[String(alg)] ?? 0}}$`).test(String(content));
      must(String(alg) in hashLengths && fits, `${who}: hash ${alg} ${content}`);
    }
    for (const { name } of list(component.properties)) must(typeof name === "string", `${who}: a property has no name`);
  }
  for (const { ref, dependsOn } of list(document.dependencies)) {
    for (const each of [ref, ...list(dependsOn)])
      must(refs.has(each), `a dependency on ${each}, which is no component`);
  }
  return faults;
}
