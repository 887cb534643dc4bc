import { EXIT, tellFailure } from "./failure.ts";

/**
 * Runs a command that is a process of its own, and ends the process with it: what the SDKs it uses
 * keep open (native threads, timers) must not keep it from ending.
 */
export async function toItsEnd(work: () => Promise<void>): Promise<never> {
  try {
    await work();
  } catch (error) {
    process.exit(tellFailure(error));
  }
  process.exit(EXIT.ok);
}

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
