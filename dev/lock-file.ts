import { readFile, rm, writeFile } from "node:fs/promises";
import { processIdentity } from "./process-life.ts";
import { until } from "./until.ts";

const WAIT_MS = 30 * 60_000;

export type Locked = { taken: true } | { taken: false; holder: string };

/**
 * Takes the lock file for this process, or tells which process (see `processIdentity`) has it.
 * The file of a process that is gone is no obstacle.
 *
 * Two processes that find the same dead holder in the same instant may both take it: use it where that
 * is caught later or harms nothing.
 */
export async function takeLock(file: string): Promise<Locked> {
  const me = processIdentity(process.pid) ?? String(process.pid);
  for (;;) {
    try {
      await writeFile(file, me, { flag: "wx" });
      return { taken: true };
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") throw error;
    }
    const holder = await readHolder(file);
    if (processIdentity(Number.parseInt(holder, 10)) === holder) return { taken: false, holder };
    await rm(file, { force: true });
  }
}

/** Gives the lock back. */
export async function releaseLock(file: string): Promise<void> {
  await rm(file, { force: true });
}

/**
 * Runs `work` while this process holds the lock file; waits up to 30 minutes for another holder, and
 * calls `onWait` once with its identity.
 */
export async function whileLocked<T>(
  file: string,
  work: () => Promise<T>,
  onWait: (holder: string) => void = () => {},
): Promise<T> {
  let told = false;
  const take = async () => {
    const locked = await takeLock(file);
    if (!locked.taken && !told) {
      told = true;
      onWait(locked.holder);
    }
    return locked.taken;
  };
  await until(take, WAIT_MS, () => `The lock ${file} is still held`, 250);
  try {
    return await work();
  } finally {
    await releaseLock(file);
  }
}

// Between making the file and writing into it a holder is nameless for an instant.
async function readHolder(file: string): Promise<string> {
  const read = () => readFile(file, "utf8").catch(() => "gone");
  return until(read, 1_000, () => "").catch(() => "nobody");
}
