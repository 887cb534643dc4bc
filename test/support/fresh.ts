import { onTestFinished } from "vitest";
import { newContext, type Context } from "../../client/context.ts";
import { holdfastOver, type Holdfast } from "../../client/index.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { testDatabase } from "./database.ts";

export interface Fresh {
  url: string;
  db: Db;
  context: Context;
  holdfast: Holdfast;
}

/** A database of the test's own with a client over it; both go when the test ends. */
export async function fresh(config: HoldfastConfig = {}): Promise<Fresh> {
  const database = await testDatabase();
  const db = openDb({ url: database.url, size: 10, name: "test" });
  onTestFinished(async () => {
    await db.close();
    await database.drop();
  });
  const context = newContext({ db, config, actor: "test" });
  return { url: database.url, db, context, holdfast: holdfastOver(context) };
}

/** `n` small documents for a batch. */
export function documents(n: number, about = "Ada Lovelace wrote to Charles Babbage") {
  return Array.from({ length: n }, (_, index) => ({
    documentId: `doc-${index + 1}`,
    content: `${about} in letter ${index + 1}.`,
  }));
}
