import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { connect, type Holdfast } from "../../client/index.ts";
import { createEstate, ESTATE, ESTATE_SCHEMAS, estateSql, RIGHT, scoreOf } from "./estate.ts";
import { marksLeft } from "./indexing.ts";
import { startSystem, type System } from "./system.ts";

/** The estate over servers of the file's own, with workers that search is registered in. */
export interface EstateSystem {
  readonly system: System;
  /** Makes the estate anew, installed and filled. */
  renew(): Promise<void>;
  worker(): ReturnType<System["worker"]>;
  /** Waits until no mark is left; then the index is what the tables say, and the doctor is content. */
  right(): Promise<void>;
  stop(): Promise<void>;
}

const CONFIG = fileURLToPath(new URL("../system/fixtures/estate.config.ts", import.meta.url));

export async function estateSystem(
  options: Parameters<typeof startSystem>[0] = {},
): Promise<EstateSystem> {
  const system = await startSystem(options);
  const { db } = system;
  const holdfast: Holdfast = connect({ databaseUrl: system.stack.databaseUrl, config: ESTATE });
  return {
    system,
    async renew() {
      for (const schema of ESTATE_SCHEMAS)
        await db.query(`drop schema if exists ${schema} cascade`);
      await holdfast.search.uninstall();
      await createEstate(db);
      await holdfast.search.install();
      await db.query(estateSql(5, 4));
    },
    worker: () => system.worker({ config: CONFIG }),
    async right() {
      await system.eventually("no mark is left", async () => (await marksLeft(db)) === 0, 200_000);
      expect(await scoreOf(db)).toEqual(RIGHT);
      await system.sound({ config: ESTATE });
    },
    async stop() {
      await holdfast.close();
      await system.stop();
    },
  };
}
