import { Client, Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";

export interface TemporalAt {
  address?: string | undefined;
  namespace?: string | undefined;
}

/** A client that connects with its first call. TLS and API key come from the environment or profile. */
export function lazyClient({ address, namespace }: TemporalAt): {
  client: Client;
  close(): Promise<void>;
} {
  const { connectionOptions, namespace: configured } = loadClientConnectConfig();
  const connection = Connection.lazy({
    ...connectionOptions,
    address: address ?? connectionOptions.address ?? "127.0.0.1:7233",
  });
  const client = new Client({ connection, namespace: namespace ?? configured ?? "default" });
  return { client, close: () => connection.close() };
}
