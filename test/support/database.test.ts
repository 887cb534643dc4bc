import pg from "pg";
import { expect, test } from "vitest";
import { testDatabase } from "./database.ts";

test("a test database is migrated, and what one test writes no other sees", async () => {
  const [mine, other] = await Promise.all([testDatabase(), testDatabase()]);
  try {
    await expect(ask(mine.url, "select count(*)::int from holdfast.operations")).resolves.toBe(0);
    await ask(mine.url, "create table public.mine ()");
    await expect(ask(other.url, "select to_regclass('public.mine')::text")).resolves.toBeNull();
  } finally {
    await Promise.all([mine.drop(), other.drop()]);
  }
  await expect(ask(mine.url, "select 1")).rejects.toThrow("does not exist");
});

async function ask(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: "array" });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}
