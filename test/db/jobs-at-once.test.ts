import { expect, onTestFinished, test } from "vitest";
import { finishOperation } from "../../db/finish.ts";
import { claimBatches } from "../../db/job-claim.ts";
import { newContext } from "../../client/context.ts";
import { holdfastOver } from "../../client/index.ts";
import { Unavailable } from "../../contracts/errors.ts";
import { closeJob } from "../../db/jobs.ts";
import { ownOperation } from "../../db/locks.ts";
import { closeExpired, expireDueLeases, expireLeases } from "../../db/job-leases.ts";
import { postResults } from "../../db/job-post.ts";
import { findOperation } from "../../db/operations.ts";
import { countOutcomes } from "../../db/outcomes.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { foldDeltas, readProgress } from "../../db/progress.ts";
import { until } from "../../dev/until.ts";
import { fairnessOf } from "../../domain/job.ts";
import { freshDb as fresh } from "../support/fresh-db.ts";
import {
  aJob,
  claimed,
  countBatches,
  countsOf,
  passLease,
  post,
  results,
} from "../support/jobs.ts";

/** All connections are there, so that what begins at once is at work at once. */
async function warm(db: Db): Promise<void> {
  await Promise.all(Array.from({ length: db.size }, () => db.query("select pg_sleep(0.05)")));
}

async function waitingForLocks(db: Db): Promise<number> {
  const { rows } = await db.query<{ waiting: number }>(
    `select count(*)::int as waiting from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'
        and wait_event <> 'extend' and cardinality(pg_blocking_pids(pid)) > 0`,
  );
  return rows[0]!.waiting;
}

/** How long a chain of sessions waits for one another's rows while `work` is at it. */
async function longestChain(db: Db, url: string, work: () => Promise<unknown>): Promise<number> {
  const watching = openDb({ url, size: 1, name: "watching" });
  let longest = 0;
  let looks = 0;
  let working = true;
  const watcher = (async () => {
    while (working) {
      longest = Math.max(longest, await waitingForLocks(watching));
      looks++;
    }
  })();
  try {
    await work();
  } finally {
    working = false;
    await watcher;
    await watching.close();
  }
  expect(looks).toBeGreaterThan(5);
  return longest;
}

test("ten who post fifty results at once to one job wait for nobody, and every result counts once", async () => {
  const { db, url } = await fresh();
  const posts = 60;
  const id = await aJob(db, { items: 50 * posts, batchSize: 25 });
  const held = await claimed(db, "w", { limit: 100 });
  held.push(...(await claimed(db, "w", { limit: 100 })));
  const all = held.flatMap((lease) => results(lease));
  expect(all).toHaveLength(50 * posts);
  // Posts and batches do not meet: most posts share a batch with their neighbours.
  const bodies = Array.from({ length: posts }, (_, n) => all.slice(n * 50 - 7, n * 50 + 43));
  bodies[0] = all.slice(0, 43);
  bodies.push(all.slice(posts * 50 - 7));
  const chain = await longestChain(db, url, () =>
    Promise.all(
      Array.from({ length: 10 }, async (_, poster) => {
        for (let n = poster; n < bodies.length; n += 10) {
          const answer = await post(db, id, bodies[n]!);
          expect(answer.accepted).toBe(bodies[n]!.length);
        }
      }),
    ),
  );
  expect(chain).toBe(0);
  expect(await countsOf(db, id)).toEqual({ "job/succeeded": 3_000, "sums/seen": 6_000 });
  expect(await countBatches(db, id)).toMatchObject({ ready: 0, leased: 0 });
  expect((await findOperation(db, id))!.wake_at).toBeInstanceOf(Date);
});

test("two who post one batch at once in any order, while it expires, agree on one winner an item and never deadlock", async () => {
  const { db } = await fresh();
  const size = 400;
  await warm(db);
  for (let round = 0; round < 16; round++) {
    // Of two deliveries that are over, what is open is cut into items; of the only one, it is lost.
    const deliveries = round % 2 === 0 ? 3 : 1;
    const id = await aJob(db, { items: size, batchSize: size, deliveries });
    const [first] = await claimed(db, "a");
    await passLease(db, first);
    let second = first!;
    if (deliveries === 3) {
      await db.transaction((tx) => expireLeases(tx));
      second = (await claimed(db, "b"))[0]!;
      await passLease(db, second);
    }
    const shuffled = (lease: typeof first, seed: number) =>
      results(lease!).toSorted((a, b) => ((a.item! * seed) % 401) - ((b.item! * seed) % 401));
    const waits = async <T>(turns: number, work: () => Promise<T>): Promise<T> => {
      for (let n = 0; n < turns; n++) await db.query("select 1");
      return work();
    };
    const [one, other, { lost }] = await Promise.all([
      post(db, id, shuffled(first, 7 + round)),
      post(db, id, shuffled(second, 31 + round)),
      waits(round * 3, () => expireDueLeases(db)),
    ]);
    expect(one.accepted + other.accepted + lost).toBe(size);
    expect(one.duplicate + other.duplicate + one.late + other.late).toBe(size + lost);
    const outcomes = await countOutcomes(db, id);
    expect((outcomes.succeeded ?? 0) + (outcomes.lost ?? 0)).toBe(size);
    const counts = await countsOf(db, id);
    expect(counts["job/succeeded"] ?? 0).toBe(outcomes.succeeded ?? 0);
    expect(counts["job/lost"] ?? 0).toBe(outcomes.lost ?? 0);
    // However it went, nothing is left that somebody would have to claim first.
    expect(await countBatches(db, id)).toMatchObject({ ready: 0, leased: 0 });
    expect((await findOperation(db, id))!.wake_at).toBeInstanceOf(Date);
  }
}, 60_000);

test("results that land while their batch is cut into items leave nothing that would have to be claimed first", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  const [lease] = await claimed(db, "a");
  await passLease(db);
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  let expiring: Promise<Awaited<ReturnType<typeof expireLeases>>> | undefined;
  const body = { operationId: id, key: "key", results: results(lease!) };
  const posting = postResults(db, body, async () => {
    // Whoever expires the lease sees nothing of these results yet, and commits after them.
    await new Promise<void>((looked) => {
      expiring = db.transaction(async (tx) => {
        const expired = await expireLeases(tx);
        looked();
        await held;
        return expired;
      });
    });
  });
  await until(
    async () => (await waitingForLocks(db)) > 0,
    10_000,
    () => "nobody waits",
  );
  release();
  expect((await posting).answer).toMatchObject({ accepted: 10 });
  const expired = await expiring!;
  expect(expired).toMatchObject([{ state: "split", items: body.results.map(({ item }) => item) }]);
  await closeExpired(db, expired);
  expect(await countBatches(db, id)).toMatchObject({ ready: 0, leased: 0 });
  expect((await findOperation(db, id))!.wake_at).toBeInstanceOf(Date);
});

test("a post repeated while the first is at work is told what the first is told", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  const [lease] = await claimed(db, "a");
  const body = { operationId: id, key: "key", repeatKey: "once", results: results(lease!) };
  let second: ReturnType<typeof postResults> | undefined;
  const first = await postResults(db, body, async () => {
    second = postResults(db, body);
    await until(
      async () => (await waitingForLocks(db)) > 0,
      10_000,
      () => "nobody waits",
    );
  });
  expect(first.answer).toMatchObject({ accepted: 10 });
  expect(await second).toEqual({ answer: first.answer, settled: [], closed: 0 });
  expect(await countsOf(db, id)).toEqual({ "job/succeeded": 10, "sums/seen": 20 });
});

test("claims at once get different batches, and different jobs as long as there are some", async () => {
  const { db } = await fresh();
  const jobs = 8;
  await warm(db);
  for (let n = 0; n < jobs; n++) await aJob(db, { items: 200, batchSize: 10 });
  const seen = new Set<string>();
  let served = 0;
  for (let round = 0; round < 20; round++) {
    const claims = await Promise.all(Array.from({ length: jobs }, (_, n) => claimed(db, `w${n}`)));
    for (const [lease] of claims) seen.add(`${lease!.operationId}/${lease!.batch}`);
    served += new Set(claims.map(([lease]) => lease!.operationId)).size;
  }
  expect(seen.size).toBe(jobs * 20);
  expect(await claimed(db, "w")).toEqual([]);
  // Of eight claims at once hardly ever two are of one job.
  expect(served / (jobs * 20)).toBeGreaterThan(0.95);
});

test("one claimer who has a job's turn in hand holds up nobody: others claim of it, and what they take is charged", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 100 });
  await db.transaction(async (tx) => {
    await tx.query("select from holdfast.job_turns for update");
    for (let n = 0; n < 3; n++) expect(await claimed(db, `w${n}`)).toHaveLength(1);
  });
  const served = async () =>
    (
      await db.query<{ served: number; owed: number }>(
        `select served, (select count(*)::int from holdfast.job_debts) as owed
           from holdfast.job_turns where operation_id = $1`,
        [id],
      )
    ).rows[0];
  expect(await served()).toEqual({ served: 0, owed: 3 });
  expect(await claimed(db, "w")).toHaveLength(1);
  expect(await served()).toEqual({ served: 4, owed: 0 });
});

test("who ends a job waits for the claim that has its turn, and neither stands in the way of the other", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 20 });
  await db.query("insert into holdfast.job_debts (operation_id, served) values ($1, 1)", [id]);
  let ending: Promise<unknown> | undefined;
  await db.transaction(async (tx) => {
    await tx.query("select from holdfast.job_turns where operation_id = $1 for update", [id]);
    ending = db.transaction((other) => closeJob(other, id));
    ending.catch(() => undefined);
    await until(
      async () => (await waitingForLocks(db)) > 0,
      10_000,
      () => "nobody waits",
    );
    await tx.query("delete from holdfast.job_debts where operation_id = $1", [id]);
  });
  expect(await ending).toMatchObject({ operation_id: id });
});

test("while one job is being ended, a post to it is refused within moments, and leases of others end in time", async () => {
  const { db } = await fresh();
  const ending = await aJob(db, { items: 20 });
  const other = await aJob(db, { items: 20 });
  const held = await claimed(db, "w", { limit: 4 });
  await passLease(db);
  const { job } = holdfastOver(newContext({ db, key: "key" }));
  const lease = held.find(({ operationId }) => operationId === ending)!;
  await db.transaction(async (tx) => {
    await ownOperation(tx, ending);
    const posting = job.post(ending, { results: results(lease) });
    await expect(posting).rejects.toThrow(Unavailable);
    expect(await expireDueLeases(db)).toMatchObject({ expired: 2 });
    expect(await countBatches(db, other)).toMatchObject({ leased: 0 });
    expect(await countBatches(db, ending)).toMatchObject({ leased: 2 });
  });
  expect(await job.post(ending, { results: results(lease) })).toMatchObject({ accepted: 10 });
  expect(await expireDueLeases(db)).toMatchObject({ expired: 1 });
}, 20_000);

test("four pollers serve small and large jobs alike: equal shares while there is work, and each its first batch in its turn", async () => {
  const { db } = await fresh();
  // A connection plans its first claim while it has the turn, which takes longer than ten later ones.
  await aJob(db, { items: 8, batchSize: 1, pipeline: "first" });
  const first = Array.from({ length: 4 }, (_, n) => ({ worker: `first-${n}`, limit: 2 }));
  await Promise.all(
    first.map(({ worker, limit }) => claimed(db, worker, { limit, pipelines: ["first"] })),
  );
  await db.query("delete from holdfast.job_leases");
  const sizes = [10, 10, 100, 100, 500, 500];
  const ids: string[] = [];
  for (const size of sizes) ids.push(await aJob(db, { items: size, batchSize: 1 }));
  const order: string[] = [];
  const left = new Map(ids.map((id, n) => [id, sizes[n]!]));
  const shares: number[] = [];
  let window = new Map<string, number>();
  const poll = async (worker: string) => {
    for (;;) {
      const { leases } = await claimBatches(db, {
        pipelines: ["p"],
        limit: 1,
        key: "key",
        worker,
        held: 10_000,
      });
      const id = leases[0]?.operationId;
      if (!id || order.length >= 500) return;
      order.push(id);
      window.set(id, (window.get(id) ?? 0) + 1);
      left.set(id, left.get(id)! - 1);
      if (left.get(id) !== 0) continue;
      // A job ran dry: the shares of those that had work until now.
      const backlogged = ids.filter((one) => left.get(one)! > 0 || one === id);
      const counts = backlogged.map((one) => window.get(one) ?? 0);
      if (counts.reduce((sum, n) => sum + n, 0) >= 4 * backlogged.length) {
        shares.push(fairnessOf(counts));
      }
      window = new Map();
    }
  };
  await Promise.all(Array.from({ length: 4 }, (_, n) => poll(`poller-${n}`)));
  for (const share of shares) expect(share).toBeGreaterThanOrEqual(0.95);
  expect(shares.length).toBeGreaterThanOrEqual(2);
  // In the order they were handed out: answers of claims at once come in any.
  const { rows } = await db.query<{ id: string }>(
    "select operation_id as id from holdfast.job_leases order by at",
  );
  const handed = rows.map(({ id }) => id);
  expect(new Set(handed.slice(0, ids.length + 3)).size).toBe(ids.length);
  for (let from = 0; from + 16 <= 60; from += 1) {
    expect(new Set(handed.slice(from, from + 15)).size).toBe(ids.length);
  }
}, 60_000);

test("weights share out what is handed out, a new job is served next, and one that was away gets no more than its share", async () => {
  const { db } = await fresh();
  const heavy = await aJob(db, { items: 400, batchSize: 1, weight: 4 });
  const light = await aJob(db, { items: 400, batchSize: 1, weight: 1 });
  const sharesOf = async (claims: number) => {
    const shares = new Map<string, number>();
    for (let n = 0; n < claims; n++) {
      const [lease] = await claimed(db, "w");
      shares.set(lease!.operationId, (shares.get(lease!.operationId) ?? 0) + 1);
    }
    return shares;
  };
  const first = await sharesOf(50);
  expect([first.get(heavy), first.get(light)]).toEqual([40, 10]);

  const pause = (at: string) =>
    db.query(`update holdfast.operations set paused_at = ${at} where id = $1`, [light]);
  await pause("now()");
  await sharesOf(60);
  await pause("null");
  const back = await sharesOf(50);
  expect(back.get(light)).toBeGreaterThanOrEqual(10);
  expect(back.get(light)).toBeLessThanOrEqual(12);

  const late = await aJob(db, { items: 100, batchSize: 1, weight: 1 });
  expect((await claimed(db, "w"))[0]!.operationId).toBe(late);
  const three = await sharesOf(30);
  expect([three.get(heavy), three.get(light), three.get(late)]).toEqual([20, 5, 5]);
});

const SEEDS = Number(process.env["HOLDFAST_CANCEL_SEEDS"] ?? 1_000);

test("a cancel and the last result at once end in one state that follows from the ledger, and counts never go back", async () => {
  const { db } = await fresh();
  const open = new Set<string>();
  const reader = watchCounts(db, () => [...open]);
  const ends = new Map<string, { finished: object; accepted: number }>();
  const seeded = async (seed: number) => {
    const id = await aJob(db, { items: 2, batchSize: 2, pipeline: `p${seed}` });
    open.add(id);
    const [lease] = await claimed(db, "w", { pipelines: [`p${seed}`] });
    const waits = async <T>(turns: number, work: () => Promise<T>): Promise<T> => {
      for (let n = 0; n < turns; n++) await db.query("select 1");
      return work();
    };
    const [finished, answer] = await Promise.all([
      waits(seed % 3, () => cancel(db, id)),
      waits((seed >> 1) % 3, () => post(db, id, results(lease!))),
    ]);
    expect(answer.accepted + answer.late).toBe(2);
    ends.set(id, { finished, accepted: answer.accepted });
    open.delete(id);
  };
  const LANES = 4;
  try {
    await Promise.all(
      Array.from({ length: LANES }, async (_, lane) => {
        for (let seed = lane; seed < SEEDS; seed += LANES) await seeded(seed);
      }),
    );
  } finally {
    await reader.stop();
  }
  const { rows } = await db.query<{ id: string; state: string; result: object; ledger: object }>(
    `select op.id, op.state, op.result,
            (select jsonb_object_agg(outcome, n)
               from (select outcome, count(*) as n from holdfast.outcomes
                      where operation_id = op.id group by 1) o) as ledger
       from holdfast.operations op`,
  );
  const progress = await readProgress(db, [...ends.keys()]);
  const seen = { completed: 0, cancelled: 0 };
  for (const { id, state, result, ledger } of rows) {
    const { finished, accepted } = ends.get(id)!;
    const [expected, counts] =
      accepted === 2
        ? (["completed", { succeeded: 2 }] as const)
        : (["cancelled", { cancelled: 2 }] as const);
    expect([state, result, ledger]).toEqual([expected, counts, counts]);
    expect(finished).toMatchObject({ state, counts });
    const job = progress.get(id)!.filter(({ stage }) => stage === "job");
    expect(Object.fromEntries(job.map(({ outcome, n }) => [outcome, n]))).toEqual(counts);
    seen[expected]++;
  }
  expect(seen.completed + seen.cancelled).toBe(SEEDS);
  expect(Math.min(seen.completed, seen.cancelled)).toBeGreaterThan(SEEDS / 200);
  const [id, { finished }] = [...ends][0]!;
  expect(await cancel(db, id)).toEqual(finished);
}, 240_000);

const cancel = (db: Db, id: string) =>
  db.transaction((tx) =>
    finishOperation(tx, { id, generation: 1, outcome: "cancelled", reason: "asked to", by: "me" }),
  );

test("whoever reads while results, repeats, expiries and folds are at work sees counts that only grow, and never more than there are", async () => {
  const { db, url } = await fresh();
  const size = 600;
  const id = await aJob(db, { items: size, batchSize: 10, deliveries: 2 });
  const reading = openDb({ url, size: 2, name: "reading" });
  onTestFinished(() => reading.close());
  const reader = watchCounts(reading, () => [id], size);
  let working = true;
  const often = async (work: () => Promise<unknown>) => {
    while (working) await work();
  };
  const upkeep = [
    often(() => reading.transaction((tx) => foldDeltas(tx, 7))),
    often(() => expireDueLeases(db)),
  ];
  let first: Awaited<ReturnType<typeof claimed>>[number] | undefined;
  const pull = async (worker: string, seed: number) => {
    for (let n = seed; ; n++) {
      const [lease] = await claimed(db, worker);
      if (!lease) {
        const { ready, leased } = await countBatches(db, id);
        if (ready + leased === 0) return;
        continue;
      }
      first ??= lease;
      // Some are never answered, some in part, some twice.
      if (n % 5 === 0) await passLease(db, lease);
      else {
        const [half, rest] = [lease.items.slice(0, 5), lease.items.slice(5)];
        await post(db, id, results(lease, half));
        if (n % 3 === 0) await post(db, id, results(lease, half));
        if (n % 7 === 0) await passLease(db, lease);
        else if (rest.length > 0) await post(db, id, results(lease, rest));
      }
      await post(db, id, results(first, first.items.slice(0, 2)));
    }
  };
  try {
    await Promise.all(Array.from({ length: 4 }, (_, n) => pull(`w${n}`, n)));
  } finally {
    working = false;
    await Promise.all(upkeep);
    await reader.stop();
  }
  expect(reader.looks()).toBeGreaterThan(20);
  const counts = await countsOf(db, id);
  const outcomes = await countOutcomes(db, id);
  expect((outcomes.succeeded ?? 0) + (outcomes.lost ?? 0)).toBe(size);
  expect(counts).toMatchObject({
    "job/succeeded": outcomes.succeeded,
    "job/lost": outcomes.lost,
    "sums/seen": 2 * outcomes.succeeded!,
  });
}, 60_000);

/** Reads the counts of jobs over and over: each only grows, and their sum is at most `total`. */
function watchCounts(db: Db, ids: () => string[], total = 2) {
  const seen = new Map<string, number>();
  let looks = 0;
  let reading = true;
  const reader = (async () => {
    while (reading) {
      for (const [id, deltas] of await readProgress(db, ids())) {
        let settled = 0;
        for (const { stage, outcome, n } of deltas) {
          const name = `${id} ${stage}/${outcome}`;
          expect(n, name).toBeGreaterThanOrEqual(seen.get(name) ?? 0);
          seen.set(name, n);
          if (stage === "job") settled += n;
        }
        expect(settled, id).toBeLessThanOrEqual(total);
        // What was seen is still there: a count that is gone has gone back to none.
        const there = deltas.map(({ stage, outcome }) => `${id} ${stage}/${outcome}`);
        for (const name of seen.keys()) {
          if (name.startsWith(id)) expect(there).toContain(name);
        }
      }
      looks++;
    }
  })();
  // Told at the end; until then nobody waits for it.
  reader.catch(() => undefined);
  return {
    looks: () => looks,
    async stop() {
      reading = false;
      await reader;
    },
  };
}
