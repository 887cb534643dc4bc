/**
 * Aborts when somebody wants this process to end: Ctrl-C, SIGTERM, a closed terminal, or the end of
 * the runner (npx, tsx) that started it. Later signals change nothing, because runners pass on a
 * Ctrl-C that the terminal has already delivered.
 */
export function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => controller.abort(signal));
  }
  if (process.connected) process.once("disconnect", () => controller.abort("end of the runner"));
  return controller.signal;
}

/** Resolves with the abort. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true }),
  );
}
