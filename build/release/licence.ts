/** Which licence a text is, and which may be shipped. */

/** Phrases of licences, by SPDX identifier: the first that a text has is its own. */
const phrases: readonly (readonly [identifier: string, phrase: RegExp])[] = [
  ["AGPL-3.0-only", /GNU AFFERO GENERAL PUBLIC LICENSE/],
  ["LGPL-3.0-only", /GNU LESSER GENERAL PUBLIC LICENSE/],
  ["GPL-3.0-only", /GNU GENERAL PUBLIC LICENSE/],
  ["MPL-2.0", /Mozilla Public License,?\s+(v\. |Version )2\.0/i],
  ["OFL-1.1", /SIL OPEN FONT LICENSE/],
  ["Apache-2.0", /Apache License,?\s+Version 2\.0/],
  ["MIT", /Permission is hereby granted, free of charge/],
  ["BSD-3-Clause", /Redistribution and use in source and binary forms[\s\S]*neither the name/i],
  ["BSD-2-Clause", /Redistribution and use in source and binary forms/],
  [
    "0BSD",
    /Permission to use, copy, modify, and\/or distribute this software for any\s+purpose with or without fee is hereby granted\.\s/,
  ],
  ["ISC", /Permission to use, copy, modify, and(\/or)? distribute this software for any\s+purpose/],
  ["Unlicense", /This is free and unencumbered software/],
  ["CC0-1.0", /CC0 1\.0 Universal/],
];

/** The licence of a package's texts; undefined where none is known. */
export function licenceOf(texts: readonly string[]): string | undefined {
  for (const text of texts) {
    const found = phrases.find(([, phrase]) => phrase.test(text));
    if (found) return found[0];
  }
  return undefined;
}

/** Licences that Apache-2.0 code may be shipped with, each in its own files or with its own notice. */
const fitting = new Set([
  ...["Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "MPL-2.0", "OFL-1.1", "Unlicense", "CC0-1.0"],
  // Both in SPDX's own notation, as package.json files have them.
  ...["MIT AND OFL-1.1", "MIT AND Apache-2.0", "(MIT AND Zlib)"],
]);

/** k6 and its parts are AGPL-3.0: bin/k6 as a whole is shipped under it, which Apache-2.0 allows. Nothing else may be. */
const agpl = new Set(["go.k6.io/k6/v2", "github.com/grafana/k6provider", "github.com/grafana/xk6-dashboard-assets"]);

/** Why a component may not be shipped; undefined where it may. */
export function licenceProblem({ name, licence }: { name: string; licence: string }): string | undefined {
  if (fitting.has(licence) || (licence === "AGPL-3.0-only" && agpl.has(name))) return undefined;
  return `${name} is ${licence}, which is not among the licences that may be shipped (build/release/licence.ts)`;
}
