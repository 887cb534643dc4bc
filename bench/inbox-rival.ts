import { once } from "node:events";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import type { Entity } from "../contracts/inventory.ts";
import { canonicalJson } from "../domain/exact-json.ts";
import { hashOfText } from "../domain/inventory-hash.ts";
import { entityIdentity } from "../domain/inventory-identity.ts";
import { NETWORK } from "./inventory-feed.ts";

/**
 * The same rows by COPY into a table with the same columns, constraints and indexes: the most Postgres
 * takes of them. Nothing is read, checked or hashed, and what comes twice is there twice.
 */
export interface InboxRival {
  /** Rows as COPY wants them, made beforehand. */
  rows(entities: readonly Entity[], tenant: string): string[];
  /** Each message in its own transaction. */
  copy(messages: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

const COLUMNS = "id, tenant, branch, request, type, identity, hash, fields, source_time";

export async function inboxRival(databaseUrl: string, message: number): Promise<InboxRival> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(
    "create schema rival; create table rival.entities (like holdfast.entities including all)",
  );
  let id = 0;
  return {
    rows(entities, tenant) {
      const request = crypto.randomUUID();
      const lines = entities.map((entity) => {
        const text = canonicalJson(entity.fields);
        const fields = text.replaceAll("\\", "\\\\");
        const identity = entityIdentity(NETWORK, entity);
        const bytes = `\\\\x${identity}\t\\\\x${hashOfText(entity.type, text)}`;
        return `${++id}\t${tenant}\tmain\t${request}\t${entity.type}\t${bytes}\t${fields}\t${entity.sourceTime!}\n`;
      });
      const messages: string[] = [];
      for (let at = 0; at < lines.length; at += message) {
        messages.push(lines.slice(at, at + message).join(""));
      }
      return messages;
    },
    async copy(messages) {
      for (const rows of messages) {
        const stream = client.query(copyFrom(`copy rival.entities (${COLUMNS}) from stdin`));
        const finished = once(stream, "finish");
        stream.end(rows);
        await finished;
      }
    },
    close: () => client.end(),
  };
}
