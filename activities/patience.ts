import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs, classify } from "../domain/faults.ts";

/**
 * Does it again while Postgres is away, however long that is: what already happened outside of it is not
 * to be lost, or paid for, because of that. `work` hears how often it has failed.
 * @throws any other fault, and that `signal` was aborted
 */
export async function patiently<T>(
  signal: AbortSignal,
  work: (failures: number) => Promise<T>,
): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await work(failures);
    } catch (error) {
      if (classify(error) !== "infrastructure") throw error;
      const waitMs = backoffMs(failures + 1, { baseMs: 200, capMs: 5_000 });
      await sleep(waitMs, undefined, { signal });
    }
  }
}
