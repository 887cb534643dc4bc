import { once } from "node:events";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { v7 as uuidv7 } from "uuid";

/** The same documents into two plain tables, as a service would write them that keeps no promises. */

export interface Document {
  documentId: string;
  content: string;
}

export interface AcceptRivals {
  /** Parent and children in one statement, one round trip, its own commit. */
  oneStatement(documents: readonly Document[]): Promise<void>;
  /** A statement for the parent and one for each child, in one transaction. */
  insertPerChild(documents: readonly Document[]): Promise<void>;
  /** COPY into a table without an index: the least Postgres can do with these bytes. */
  copy(documents: readonly Document[]): Promise<void>;
  close(): Promise<void>;
}

export async function acceptRivals(databaseUrl: string): Promise<AcceptRivals> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(
    `create schema rival;
     create table rival.parents (id uuid primary key, bank text not null);
     create table rival.children (parent_id uuid not null, no integer not null, key text not null,
       content text not null, primary key (parent_id, no));
     create table rival.heap (key text not null, content text not null)`,
  );
  return {
    async oneStatement(documents) {
      await client.query(
        `with parent as (insert into rival.parents (id, bank) values ($1, $2) returning id)
         insert into rival.children (parent_id, no, key, content)
         select parent.id, c.no, c.key, c.content
           from parent, unnest($3::text[], $4::text[]) with ordinality as c(key, content, no)`,
        [
          uuidv7(),
          "rival",
          documents.map((document) => document.documentId),
          documents.map((document) => document.content),
        ],
      );
    },
    async insertPerChild(documents) {
      const id = uuidv7();
      await client.query("begin");
      await client.query("insert into rival.parents (id, bank) values ($1, $2)", [id, "rival"]);
      for (const [index, { documentId, content }] of documents.entries()) {
        await client.query(
          "insert into rival.children (parent_id, no, key, content) values ($1, $2, $3, $4)",
          [id, index + 1, documentId, content],
        );
      }
      await client.query("commit");
    },
    async copy(documents) {
      const stream = client.query(copyFrom("copy rival.heap (key, content) from stdin"));
      const finished = once(stream, "finish");
      stream.end(
        documents
          .map(({ documentId, content }) => `${escaped(documentId)}\t${escaped(content)}\n`)
          .join(""),
      );
      await finished;
    },
    close: () => client.end(),
  };
}

const ESCAPES: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escaped(text: string): string {
  return text.replaceAll(/[\\\n\r\t]/g, (character) => ESCAPES[character]!);
}
