import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from "vitest";
import { spawnLeashed } from "../../dev/leash.ts";
import { rounds } from "../support/rounds.ts";
import { startSystem, type System } from "../support/system.ts";

const CLIENTS = 20;
const APPENDS = 1_000;
const EACH = APPENDS / CLIENTS;
const PROCESSES = 4;
const WORKER_KILLS = 3;
const APPENDER = fileURLToPath(new URL("fixtures/append.ts", import.meta.url));

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds(
  "1,000 appends of 20 clients to one document, workers and clients killed, are read in order of acceptance",
  async (random) => {
    const bank = `shared-${random.seed}`;
    const said = new Map<string, Said>();
    const perProcess = CLIENTS / PROCESSES;
    const processes = Array.from({ length: PROCESSES }, (_, index) =>
      Array.from({ length: perProcess }, (_, n) => index * perProcess + n + 1),
    );
    const unlucky = random.between(0, PROCESSES - 1);
    const others = processes
      .filter((_, index) => index !== unlucky)
      .map((clients) => appending(bank, clients, said).ended);
    const killed = appending(bank, processes[unlucky]!, said);
    let worker = await system.worker();
    for (let kill = 1; kill <= WORKER_KILLS; kill++) {
      const target = random.between(1, Math.floor((APPENDS * kill) / (WORKER_KILLS + 1)));
      await system.eventually(
        `${target} appends are settled`,
        async () => (await settledIn(bank)) >= target,
        120_000,
      );
      await worker.send("SIGKILL");
      if (kill === 1) {
        killed.kill();
        await killed.ended;
        others.push(appending(bank, processes[unlucky]!, said).ended);
      }
      worker = await system.worker();
    }
    expect(await Promise.all(others)).toEqual(others.map(() => 0));
    await system.eventually(
      "every append is settled",
      async () => (await settledIn(bank)) === APPENDS,
      240_000,
    );
    await system.eventually("every batch has ended", noneOpen, 60_000);

    const { text, parts } = await system.holdfast.document.get(bank, "shared");
    const read = text.split("\n");
    expect(read.toSorted()).toEqual(allAppends().toSorted());
    expect(parts).toHaveLength(APPENDS);
    expect(outOfOrder(read, said)).toEqual([]);
    await system.sound();
  },
  600_000,
);

/** Nanoseconds: an append was accepted after `begun`, and before `answered` if that is known. */
interface Said {
  begun: bigint;
  answered?: bigint;
}

/** A process of some clients. What it says is kept under the line of each append, the first saying. */
function appending(bank: string, clients: readonly number[], said: Map<string, Said>) {
  const child = spawnLeashed(
    process.execPath,
    ["--import", "tsx", APPENDER, bank, clients.join(","), String(EACH)],
    {
      env: { ...process.env, DATABASE_URL: system.stack.databaseUrl },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  createInterface({ input: child.stdout as Readable }).on("line", (line) => {
    const { what, client, first, many, at } = JSON.parse(line) as {
      what: "begun" | "answered";
      client: number;
      first: number;
      many: number;
      at: string;
    };
    for (let n = first; n < first + many; n++) {
      const name = `client ${client} append ${n}`;
      const before = said.get(name);
      if (what === "begun") said.set(name, before ?? { begun: BigInt(at) });
      else before!.answered ??= BigInt(at);
    }
  });
  return {
    kill: () => void child.kill("SIGKILL"),
    /** The exit code; null: it was killed. All it said has been heard by then. */
    ended: once(child, "close").then(([code]) => code as number | null),
  };
}

/** Appends that are read after one whose submit had not begun when theirs was answered. */
function outOfOrder(read: readonly string[], said: ReadonlyMap<string, Said>): string[] {
  const found: string[] = [];
  let latestBegun = 0n;
  for (const line of read) {
    const { begun, answered } = said.get(line)!;
    if (answered !== undefined && answered < latestBegun) found.push(line);
    if (begun > latestBegun) latestBegun = begun;
  }
  return found;
}

function allAppends(): string[] {
  return Array.from({ length: CLIENTS }, (_, client) =>
    Array.from({ length: EACH }, (_, n) => `client ${client + 1} append ${n + 1}`),
  ).flat();
}

async function settledIn(bank: string): Promise<number> {
  const { rows } = await system.db.query<{ n: number }>(
    `select count(*)::int as n
       from holdfast.operations op join holdfast.outcomes o on o.operation_id = op.id
      where op.input ->> 'bank' = $1`,
    [bank],
  );
  return rows[0]!.n;
}

async function noneOpen(): Promise<boolean> {
  const { rowCount } = await system.db.query(
    "select from holdfast.operations where finished_at is null",
  );
  return rowCount === 0;
}
