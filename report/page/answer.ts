/** What a scenario answers: sentences with numbers, then tables and pictures. The page and the files follow from it. */

import type { Results } from "../read/read";
import type { Picture } from "./chart";
import type { Table } from "./table";

export interface Section {
  heading: string;
  /** Paragraphs before the pictures: definitions and rules that the numbers rest on. */
  text?: string[];
  pictures: Picture[];
  tables: Table[];
}

export interface Answer {
  /** The answer itself, in sentences with numbers. */
  sentences: string[];
  sections: Section[];
  /** Files in formats of their own, such as the JSON of another tool; written beside report.html. */
  files: { name: string; content: string }[];
}

/** Folds one results folder, or several that belong together (the second is compared with, or joined to, the first). */
export type Answerer = (runs: [Results, ...Results[]]) => Answer;
