/** What only the VU of a search for capacity needs: see lib/lazy.ts. */
export { seededRng } from "../workload/rng";
export { alphaOf, CapacitySearch, costAtMost } from "./capacity-search";
export { gapsOf } from "./gaps";
export { Probe } from "./probe";
