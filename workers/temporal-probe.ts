import { lazyClient, type TemporalAt } from "./temporal-client.ts";

const ANSWER_WITHIN_MS = 1_000;

/** Asks Temporal whether it is there, for readiness: within a second, and never with an error. */
export function temporalProbe(at: TemporalAt): {
  reachable(): Promise<boolean>;
  close(): Promise<void>;
} {
  const { client, close } = lazyClient(at);
  const ask = () => client.workflowService.getSystemInfo({});
  return {
    reachable: () =>
      client.connection.withDeadline(Date.now() + ANSWER_WITHIN_MS, ask).then(
        () => true,
        () => false,
      ),
    close,
  };
}
