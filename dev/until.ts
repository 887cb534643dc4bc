import { setTimeout as pause } from "node:timers/promises";

/**
 * Asks again every `everyMs` (20) until the answer is truthy, and gives that answer.
 * @throws Error with `what()` and the bound when `withinMs` have passed; whatever `probe` throws.
 */
export async function until<T>(
  probe: () => T | Promise<T>,
  withinMs: number,
  what: () => string,
  everyMs = 20,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`${what()} after ${withinMs} ms`);
    await pause(everyMs);
  }
}
