import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { openDb } from "../../db/pool.ts";
import { finished, setupCli, start } from "./support.ts";

const cli = setupCli();
const LINES = 12_000;

/** What an ingest is seen doing, by the statement of its connection that runs or has run last. */
const POINTS = [
  "settings",
  "ingest_requests",
  "advisory",
  "identity",
  "insert into holdfast.entities",
];

test(
  "killed at any point, an ingest has taken everything or nothing, and its repeat takes it once",
  { timeout: 240_000 },
  async () => {
    const db = openDb({ url: cli.databaseUrl, size: 2, name: "watcher" });
    const feed = Array.from(
      { length: LINES },
      (_, no) => `{"timestamp":"2026-03-01T00:00:00Z","site":{"name":"s${no}"}}\n`,
    ).join("");
    await writeFile(join(cli.folder, "large.ndjson"), feed);
    const run = (tenant: string) =>
      start(
        ["inbox", "ingest", "large.ndjson", "--message-id", "m", "--tenant", tenant, "--json"],
        {
          folder: cli.folder,
          env: { DATABASE_URL: cli.databaseUrl },
        },
      );
    const taken = async (tenant: string) => {
      const { rows } = await db.query<{ requests: number; entities: number }>(
        `select (select count(*)::int from holdfast.ingest_requests where tenant = $1) as requests,
              (select count(*)::int from holdfast.entities where tenant = $1) as entities`,
        [tenant],
      );
      return rows[0]!;
    };
    const connections = async (point = "") =>
      (
        await db.query<{ pid: number }>(
          `select pid from pg_stat_activity
          where application_name = 'holdfast-client' and datname = current_database()
            and position($1 in query) > 0`,
          [point],
        )
      ).rows;
    try {
      let killed = 0;
      for (const [no, point] of POINTS.entries()) {
        const tenant = `t${no}`;
        const child = run(tenant);
        const end = finished(child);
        await vi.waitFor(
          async () => {
            if (child.exitCode === null) expect(await connections(point)).not.toEqual([]);
          },
          { interval: 3, timeout: 60_000 },
        );
        child.kill("SIGKILL");
        const { code } = await end;
        if (code === null) killed++;
        await vi.waitFor(async () => expect(await connections()).toEqual([]), { timeout: 30_000 });
        const left = await taken(tenant);
        expect([0, LINES]).toContain(left.entities);
        expect(left.requests).toBe(left.entities === 0 ? 0 : 1);
        const again = await finished(run(tenant));
        expect(again, again.err).toMatchObject({ code: 0 });
        expect(again.json()).toMatchObject({ repeated: left.entities > 0, accepted: LINES });
        expect(await taken(tenant)).toEqual({ requests: 1, entities: LINES });
      }
      // Else nothing was tried.
      expect(killed).toBeGreaterThan(2);
    } finally {
      await db.close();
    }
  },
);
