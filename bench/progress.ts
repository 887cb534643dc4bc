import { setTimeout as sleep } from "node:timers/promises";
import { v7 as uuidv7 } from "uuid";
import { openDb, type Db } from "../db/pool.ts";
import { reportProgress } from "../db/progress-report.ts";
import { foldDeltas, readProgress } from "../db/progress.ts";
import { median, ratio } from "./figures.ts";
import type { Benchmark, Frame } from "./frame.ts";
import { inTurn } from "./in-turn.ts";
import { lineOf, progressRivals } from "./progress-rivals.ts";

export const benchmark: Benchmark = {
  name: "progress",
  question: "Can ten writers report progress and a log line on one operation without waiting?",
  async run(frame) {
    const server = await frame.postgres();
    const databaseUrl = await frame.database(server);
    const db = openDb({ url: databaseUrl, size: WRITERS });
    const watching = openDb({ url: databaseUrl, size: 2, name: WATCHER });
    const operationId = uuidv7();
    const rivals = await progressRivals(databaseUrl, operationId, WRITERS);
    try {
      await measureProgress(frame, { db, watching, operationId, rivals });
    } finally {
      await Promise.all([db.close(), watching.close(), rivals.close()]);
    }
  },
};

const WRITERS = 10;
const WATCHER = "bench-watcher";
const STAGE = { stage: "work", outcome: "succeeded", n: 1 };
/** Upkeep folds every 3 s; more often here, so that a short round bears its share of the work. */
const FOLD_EVERY_MS = 1_000;
const FOLD_LIMIT = 5_000;

interface Scene {
  db: Db;
  watching: Db;
  operationId: string;
  rivals: Awaited<ReturnType<typeof progressRivals>>;
}

async function measureProgress(frame: Frame, scene: Scene): Promise<void> {
  const { db, watching, operationId, rivals } = scene;
  const roundMs = frame.quick ? 500 : 3_000;
  const chains = { ours: 0, folding: 0, append: 0, atOnce: 0, counter: 0 };
  let posted = 0;

  const ourPost = async (writer: number, no: number) => {
    const line = { level: "info", message: lineOf(writer, no) } as const;
    await db.transaction((tx) =>
      reportProgress(tx, operationId, `writer-${writer}/${no}`, [STAGE], [line]),
    );
    posted++;
  };
  const round = (name: keyof typeof chains, post: Post) => async (round: number) => {
    const { perSecond, longestChain } = await tenWriters(watching, roundMs, round, post);
    chains[name] = Math.max(chains[name], longestChain);
    return perSecond;
  };

  const seen = await inTurn(frame.quick ? 2 : 9, {
    ours: round("ours", ourPost),
    folding: (at) => whileFolding(watching, () => round("folding", ourPost)(at + 1_000)),
    append: round("append", rivals.append),
    atOnce: round("atOnce", rivals.appendAtOnce),
    counter: round("counter", rivals.updateCounter),
  });

  frame.measure("progress with a log line, 10 writers", median(seen.ours), "commits/s");
  frame.measure("the same while upkeep folds", median(seen.folding), "commits/s");
  frame.measure("bare appended rows", median(seen.append), "commits/s");
  frame.measure("bare appended rows, by one statement", median(seen.atOnce), "commits/s");
  frame.measure("updated counter row", median(seen.counter), "commits/s");
  const ofAppends = 100 * ratio(seen.ours, seen.append);
  frame.measure("of bare appended rows", ofAppends, "%", { atLeast: 80 });
  const ofAtOnce = 100 * ratio(seen.ours, seen.atOnce);
  frame.measure("of bare appended rows, by one statement", ofAtOnce, "%");
  const ofCounter = ratio(seen.ours, seen.counter);
  frame.measure("of an updated counter row", ofCounter, "x", { atLeast: 3 });
  const foldingOfAppends = 100 * ratio(seen.folding, seen.append);
  frame.measure("of bare appended rows, while upkeep folds", foldingOfAppends, "%");
  frame.measure("bare appends, of the counter row", ratio(seen.append, seen.counter), "x");
  frame.measure("lock chain", Math.max(chains.ours, chains.folding), "waiting", { exactly: 0 });
  frame.measure("lock chain of the counter row", chains.counter, "waiting");
  await measureLoss(frame, scene, posted);
}

type Post = (writer: number, no: number) => Promise<void>;

/** Ten writers post as fast as they are answered; somebody looks how many wait for a lock. */
async function tenWriters(watching: Db, forMs: number, round: number, post: Post) {
  const startedAt = performance.now();
  const endsAt = startedAt + forMs;
  let posts = 0;
  let longestChain = 0;
  const write = async (writer: number) => {
    for (let n = 0; performance.now() < endsAt; n++) {
      await post(writer, round * 1_000_000 + n);
      posts++;
    }
  };
  const watch = async () => {
    while (performance.now() < endsAt) {
      longestChain = Math.max(longestChain, await waitingForLocks(watching));
      await sleep(100);
    }
  };
  await Promise.all([...Array.from({ length: WRITERS }, (_, writer) => write(writer)), watch()]);
  return { perSecond: (posts * 1_000) / (performance.now() - startedAt), longestChain };
}

// Extending a file is waited for too, by whoever appends anywhere; nobody's row stands behind it.
async function waitingForLocks(db: Db): Promise<number> {
  const { rows } = await db.query<{ waiting: number }>(
    `select count(*)::int as waiting from pg_stat_activity
      where datname = current_database() and application_name <> $1
        and wait_event_type = 'Lock' and wait_event <> 'extend'
        and cardinality(pg_blocking_pids(pid)) > 0`,
    [WATCHER],
  );
  return rows[0]!.waiting;
}

/** What upkeep does beside the writers. */
async function whileFolding<T>(db: Db, work: () => Promise<T>): Promise<T> {
  const ending = new AbortController();
  const folding = (async () => {
    while (!ending.signal.aborted) {
      await sleep(FOLD_EVERY_MS, undefined, { signal: ending.signal }).catch(() => undefined);
      await fold(db);
    }
  })();
  try {
    return await work();
  } finally {
    ending.abort();
    await folding;
  }
}

async function fold(db: Db): Promise<void> {
  while ((await db.transaction((tx) => foldDeltas(tx, FOLD_LIMIT))) === FOLD_LIMIT);
}

async function measureLoss(
  frame: Frame,
  { watching, operationId }: Scene,
  posted: number,
): Promise<void> {
  const counts = (await readProgress(watching, [operationId])).get(operationId) ?? [];
  const counted = counts.reduce((sum, { n }) => sum + n, 0);
  const { rows } = await watching.query<{ lines: number }>(
    "select count(distinct message)::int as lines from holdfast.logs where operation_id = $1",
    [operationId],
  );
  frame.measure("counts lost or doubled", counted - posted, "counts", { exactly: 0 });
  frame.measure("log lines lost", posted - rows[0]!.lines, "lines", { exactly: 0 });
}
