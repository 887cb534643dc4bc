import { ApplicationFailure, proxyActivities } from "@temporalio/workflow";

const { count, recount } = proxyActivities<{
  count(n: number): Promise<number>;
  recount(n: number): Promise<number>;
}>({ startToCloseTimeout: 10_000 });

export async function nap(): Promise<string> {
  throw ApplicationFailure.nonRetryable("no rest for this version");
}

export async function countTwice(): Promise<void> {
  for (const round of [0, 3]) {
    const last = round === 3 ? recount : count;
    await Promise.all([count(round), last(round + 1), count(round + 2)]);
  }
}
