import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import { inDatabase } from "./template.ts";

export interface TestDatabase {
  url: string;
  /** Removes it, ending whatever is still connected. */
  drop(): Promise<void>;
}

/** A migrated, empty database of the caller's own on the run's server. */
export async function testDatabase(): Promise<TestDatabase> {
  const server = inject("databaseUrl");
  const name = `test_${process.pid}_${randomBytes(4).toString("hex")}`;
  await once(server, `create database ${name} template ${inject("templateDatabase")}`);
  return {
    url: inDatabase(server, name),
    drop: () => once(server, `drop database if exists ${name} with (force)`),
  };
}

async function once(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
