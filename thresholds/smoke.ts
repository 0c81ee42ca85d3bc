import type { Profile } from "../lib/figures/profile";

/** Does every level answer? No limit on how fast. */
export const smoke: Profile = {
  description: "Every level answers every request.",
  minRequests: 1,
  maxFailureShare: 0,
  limits: {},
};
