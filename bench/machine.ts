import { availableParallelism, cpus, totalmem, type } from "node:os";
import type { Queryable } from "../db/pool.ts";

/** Where figures come from: without it they mean nothing. */
export interface Machine {
  cores: number;
  cpu: string;
  memoryGiB: number;
  system: string;
  node: string;
  /** Version, and the settings that decide what a commit costs. */
  postgres?: string;
}

export function thisMachine(): Machine {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    system: type(),
    node: process.versions.node,
  };
}

/** Version and durability of a server, as it says itself. */
export async function describePostgres(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ version: string; fsync: string; commit: string }>(
    `select current_setting('server_version') as version, current_setting('fsync') as fsync,
            current_setting('synchronous_commit') as commit`,
  );
  const { version, fsync, commit } = rows[0]!;
  return `${version}, fsync ${fsync}, synchronous_commit ${commit}`;
}
