import { proxyActivities, sleep } from "@temporalio/workflow";

const { count } = proxyActivities<{ count(n: number): Promise<number> }>({
  startToCloseTimeout: 10_000,
});

/** Two versions of each workflow: what the first did, the second would do otherwise. */
export async function nap(): Promise<string> {
  await sleep(10);
  return "rested";
}

export async function countTwice(): Promise<void> {
  for (const round of [0, 3]) {
    await Promise.all([count(round), count(round + 1), count(round + 2)]);
  }
}
