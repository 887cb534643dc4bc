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
  const timeout = new AbortController();
  const answer = ask(AbortSignal.any([signal, timeout.signal]));
  if (!(answer instanceof Promise)) return answer;
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const ended = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      timeout.abort();
      reject(new Error(`the ${what} did not answer within ${timeoutMs} ms`));
    }, timeoutMs);
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([answer, ended]);
  } finally {
    clearTimeout(timer);
    if (onAbort) signal.removeEventListener("abort", onAbort);
    answer.catch(() => undefined);
  }
}
