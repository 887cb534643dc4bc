import type { Client } from "@temporalio/client";

/**
 * Calls Temporal and waits at most `ms`. The deadline alone is not enough: the client goes on retrying
 * a server that cannot be reached for about 20 s past it.
 */
export async function boundedCall<T>(
  client: Pick<Client, "withDeadline">,
  ms: number,
  call: () => Promise<T>,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer from Temporal within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([client.withDeadline(Date.now() + ms, call), late]);
  } finally {
    clearTimeout(timer);
  }
}
