import { Context, heartbeat } from "@temporalio/activity";

const EVERY_MS = 1_000;

/**
 * Runs long work with a heartbeat every second, so that a dead worker is noticed and a cancellation
 * arrives. What the work waits for is bounded by itself: each statement, each extraction.
 */
export async function beating<T>(
  work: (signal: AbortSignal, beat: (details: unknown) => void) => Promise<T>,
): Promise<T> {
  let details: unknown;
  const timer = setInterval(() => heartbeat(details), EVERY_MS);
  try {
    return await work(Context.current().cancellationSignal, (latest) => void (details = latest));
  } finally {
    clearInterval(timer);
  }
}
