/**
 * Asks a plug-in, and waits at most so long for its answer. Its signal is aborted when the time is
 * over or `signal` is; what it says after that is nobody's business. One that answers at once, not by
 * a promise, pays for no timer.
 * @throws what the plug-in throws, the reason of `signal`, or that there was no answer
 */
export async function inTime<T>(
  what: string,
  timeoutMs: number,
  signal: AbortSignal,
  ask: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const timeout = new AbortController();
  const bounded = AbortSignal.any([signal, timeout.signal]);
  const answer = ask(bounded);
  if (!(answer instanceof Promise)) return answer;
  const timer = setTimeout(
    () => timeout.abort(new Error(`the ${what} did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  const ended = new Promise<never>((_, reject) => {
    bounded.addEventListener("abort", () => reject(bounded.reason as Error), { once: true });
  });
  try {
    return await Promise.race([answer, ended]);
  } finally {
    clearTimeout(timer);
    answer.catch(() => undefined);
  }
}
