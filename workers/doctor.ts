import { examine, type Examination } from "../activities/doctor.ts";
import type { Limits } from "../db/doctor.ts";
import type { HoldfastConfig } from "../contracts/config.ts";
import { assertSchema } from "../db/migrate.ts";
import { assertReachable, openDb } from "../db/pool.ts";
import { lazyClient, type TemporalAt } from "./temporal-client.ts";

export type { Examination, Finding } from "../activities/doctor.ts";

export interface DoctorOptions {
  databaseUrl: string;
  schema?: string;
  temporal: TemporalAt;
  repair: boolean;
  /** As the relay of this installation has them. */
  limits?: Partial<Limits>;
  /** What is plugged in: some of it is looked at. */
  config?: HoldfastConfig;
}

/**
 * One examination from a process of its own, as the command line does it. Temporal may be away.
 * @throws Unavailable when Postgres cannot be reached
 */
export async function runDoctor(options: DoctorOptions): Promise<Examination> {
  const { databaseUrl: url, schema, repair, limits, config } = options;
  const db = openDb({ url, ...(schema ? { schema } : {}), size: 4, name: "holdfast-doctor" });
  const { client, close } = lazyClient(options.temporal);
  try {
    await assertReachable(db);
    await assertSchema(db);
    return await examine({ db, client, repair, ...(limits ? { limits } : {}), config });
  } finally {
    await Promise.all([close(), db.close()]);
  }
}
