import { Client, Connection, makeGrpcRetryInterceptor } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";

export interface TemporalAt {
  address?: string | undefined;
  namespace?: string | undefined;
}

// A short process says that Temporal is away instead of waiting for it, and a retry that is due after
// the connection was closed would end the process. A server that is too busy is asked again.
const RESOURCE_EXHAUSTED = 8;
const onlyWhenBusy = makeGrpcRetryInterceptor({
  delayFunction: (attempt) => attempt * 500,
  retryableDecider: (attempt, { code }) => code === RESOURCE_EXHAUSTED && attempt < 5,
});

/** A client that connects with its first call. TLS and API key come from the environment or profile. */
export function lazyClient({ address, namespace }: TemporalAt): {
  client: Client;
  close(): Promise<void>;
} {
  const { connectionOptions, namespace: configured } = loadClientConnectConfig();
  const connection = Connection.lazy({
    ...connectionOptions,
    interceptors: [onlyWhenBusy],
    address: address ?? connectionOptions.address ?? "127.0.0.1:7233",
  });
  const client = new Client({ connection, namespace: namespace ?? configured ?? "default" });
  return { client, close: () => connection.close() };
}
