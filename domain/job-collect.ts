import { JobItem } from "../contracts/job.ts";
import { kept } from "../contracts/text.ts";

/** What is decided about items that a collector found. */

/** An item as it is stored: with what a worker is given, or with why it can never be queued. */
export interface QueuedItem {
  key: string;
  /** JSON text; empty when there is none. */
  payload: string;
  reference?: string | undefined;
  unqueued?: string;
}

const MAX_KEY = 1_000;

/**
 * An item of a collected page. What is no item, or says with `error` that it cannot be worked, becomes
 * one that has failed: one bad item is no reason to lose the job.
 */
export function queuedItem(found: unknown): QueuedItem {
  const { key, error } = (typeof found === "object" && found !== null ? found : {}) as {
    key?: unknown;
    error?: unknown;
  };
  const named = typeof key === "string" ? kept(key, MAX_KEY) : "";
  if (typeof error === "string") {
    return { key: named, payload: "", unqueued: kept(`could not be queued: ${error}`, 1_000) };
  }
  const parsed = JobItem.safeParse(found);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    const where = path.length > 0 ? `its ${path.join(".")} ` : "it ";
    return {
      key: named,
      payload: "",
      unqueued: kept(`could not be queued: ${where}${message}`, 1_000),
    };
  }
  const { payload, reference } = parsed.data;
  return {
    key: parsed.data.key ?? "",
    payload: payload === undefined ? "" : JSON.stringify(payload),
    ...(reference === undefined ? {} : { reference }),
  };
}

/** The items in a random order; `random` answers 0 to 1, as Math.random does. */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const mixed = [...items];
  for (let n = mixed.length - 1; n > 0; n--) {
    const other = Math.floor(random() * (n + 1));
    [mixed[n], mixed[other]] = [mixed[other]!, mixed[n]!];
  }
  return mixed;
}
