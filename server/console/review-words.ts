import type { ReviewAct } from "../../contracts/review.ts";

/** What people may decide: what the button says, and what is said afterwards. */
export const DECISIONS: Record<ReviewAct, { words: string; done: string; means: string }> = {
  approve: {
    words: "Approve",
    done: "approved",
    means:
      "is applied within seconds, exactly as its plan says. A plan that has changed since is not.",
  },
  ignore: {
    words: "Ignore",
    done: "ignored",
    means: "is put aside. It comes up again when its source says something else.",
  },
  reject: {
    words: "Reject",
    done: "rejected",
    means: "is not applied. It comes up again when its source says something else.",
  },
  rediff: {
    words: "Rediff",
    done: "sent to be planned again",
    means:
      "is planned again, against the inventory as it is now. An approval of the old plan is void.",
  },
  reopen: {
    words: "Reopen",
    done: "reopened",
    means: "is planned again, and waits for a decision if anything changes.",
  },
  requeue: {
    words: "Requeue",
    done: "queued again",
    means: "is planned again, with all its attempts.",
  },
};
