import { onTestFinished } from "vitest";
import { openDb, type Db } from "../../db/pool.ts";
import { testDatabase } from "./database.ts";

/** A database of the test's own, without a client over it; it goes when the test ends. */
export async function freshDb(size = 10): Promise<{ url: string; db: Db }> {
  const database = await testDatabase();
  const db = openDb({ url: database.url, size, name: "test" });
  onTestFinished(async () => {
    await db.close();
    await database.drop();
  });
  return { url: database.url, db };
}
