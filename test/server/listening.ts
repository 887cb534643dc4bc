import { pino } from "pino";
import { connect, type Holdfast } from "../../client/index.ts";
import { readSettings } from "../../config.ts";
import type { Role } from "../../contracts/roles.ts";
import { startServer, type RunningServer } from "../../server/listen.ts";
import { testDatabase } from "../support/database.ts";

export interface Listening extends RunningServer, AsyncDisposable {
  databaseUrl: string;
  holdfast: Holdfast;
  key(role: Role): Promise<string>;
  /** Lines of the log, debug and above. */
  logged: { level: number; msg: string; path?: string; status?: number }[];
}

/** A server on a free port over a database of its own. */
export async function listening(environment: NodeJS.ProcessEnv = {}): Promise<Listening> {
  const database = await testDatabase();
  const logged: Listening["logged"] = [];
  const server = await startServer({
    settings: readSettings({
      DATABASE_URL: database.url,
      HOLDFAST_PORT: "0",
      HOLDFAST_POOL: "4",
      ...environment,
    }),
    log: pino(
      { level: "debug" },
      { write: (line: string) => void logged.push(JSON.parse(line) as never) },
    ),
  });
  const holdfast = connect({ databaseUrl: database.url, poolSize: 2 });
  return {
    ...server,
    databaseUrl: database.url,
    holdfast,
    logged,
    key: async (role) => (await holdfast.key.create({ name: role, role })).secret,
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await holdfast.close();
      await database.drop();
    },
  };
}
