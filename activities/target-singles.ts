import { TargetFault, type TargetError } from "../contracts/target.ts";

/** Calls for one, at once, where the target has none for many. */
const SINGLES = 8;

/**
 * One call for each, a few at a time, answers in order. Who is refused is refused alone; once the target
 * cannot be asked, nobody else is asked for.
 */
export async function inLanes<T, A>(
  all: readonly T[],
  ask: (one: T, no: number) => Promise<A>,
): Promise<(A | Failed)[]> {
  const answers: (A | Failed)[] = [];
  let next = 0;
  let away: TargetFault | undefined;
  const lane = async () => {
    while (next < all.length) {
      const no = next++;
      try {
        answers[no] = away ? failed(away, false) : await ask(all[no]!, no);
      } catch (error) {
        if (!(error instanceof TargetFault)) throw error;
        if (error.kind === "away") away = error;
        answers[no] = failed(error, error.mayHaveHappened);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(SINGLES, all.length) }, lane));
  // Nobody's end would be known better for it.
  if (away && answers.every((one) => (one as Failed).error?.away)) throw away;
  return answers;
}

interface Failed {
  outcome: "failed";
  error: TargetError;
}

function failed({ kind, message }: TargetFault, unknown: boolean): Failed {
  const away = kind === "away";
  return { outcome: "failed", error: { message, away, retry: !away, unknown } };
}
