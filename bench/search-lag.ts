import { setTimeout as sleep } from "node:timers/promises";
import { openDb, type Db } from "../db/pool.ts";
import { readIndexLanes, waitedOf, waitedQuantile } from "../db/index-lanes.ts";
import { until } from "../dev/until.ts";
import { percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import type { Scene } from "./scene.ts";
import { deviceOf, insertDevice } from "./search-objects.ts";
import { wakesOf } from "./search-wakes.ts";

const WRITERS = 8;
const COMMITS = 10_000;
const PER_SECOND = 500;
const READERS = 4;
/** Where numbers of devices begin that only the readers write. */
const SAMPLES_FROM = 10_000_000;

/** What many small commits ask of Temporal, and how soon each can be found. */
export async function measureLag(frame: Frame, scene: Scene): Promise<void> {
  const writing = openDb({ url: scene.databaseUrl, size: WRITERS, name: "bench-writer" });
  frame.atEnd(() => writing.close());
  const written = await measureWakes(frame, scene, writing);
  await measureVisible(frame, scene, writing, written);
}

async function measureWakes(frame: Frame, scene: Scene, writing: Db): Promise<number> {
  const commits = frame.quick ? 1_000 : COMMITS;
  let id = 0;
  const before = await wakesOf(scene.stack);
  const began = performance.now();
  const writer = async () => {
    while (id < commits) await insertDevice(writing, "captured", deviceOf(++id));
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  const seconds = (performance.now() - began) / 1_000;
  await marksGone(scene.holdfast.db);
  const after = await wakesOf(scene.stack);
  const what = `${commits.toLocaleString("en")} one-row commits`;
  frame.measure(`${what}, one after the other on ${WRITERS} connections`, seconds, "s");
  frame.measure(`wake-ups for ${what}`, after.wakes - before.wakes, "starts and signals", {
    atMost: 100,
  });
  frame.measure(`activities for ${what}`, after.activities - before.activities, "activities");
  frame.measure("wake-ups where each commit enqueues a job, by definition", commits, "starts");
  return id;
}

async function measureVisible(
  frame: Frame,
  scene: Scene,
  writing: Db,
  written: number,
): Promise<void> {
  const seconds = frame.quick ? 3 : 30;
  const { db, search } = scene.holdfast;
  const before = waitedOf(await readIndexLanes(db));
  const endsAt = performance.now() + seconds * 1_000;
  const sampled: number[] = [];
  const samples = Array.from({ length: READERS }, async (_, reader) => {
    for (let no = 0; performance.now() < endsAt; no++) {
      const device = deviceOf(SAMPLES_FROM + reader * 1_000_000 + no);
      await insertDevice(writing, "captured", device);
      const committedAt = performance.now();
      await until(
        async () =>
          (await search.query({ text: device.serial, lookup: "exact" })).items.length === 1,
        60_000,
        () => `${device.serial} was not found`,
        LOOK_MS,
      );
      sampled.push(performance.now() - committedAt);
    }
  });
  const { reached } = await paced(PER_SECOND, endsAt, () =>
    insertDevice(writing, "captured", deviceOf(++written)),
  );
  await Promise.all(samples);
  await marksGone(db);
  const waited = waitedOf(await readIndexLanes(db)).map((n, bucket) => n - before[bucket]!);
  frame.measure("written meanwhile", reached, "writes/s");
  for (const [quantile, bar] of [
    [95, 1],
    [99, 2],
  ] as const) {
    const at = `p${quantile}, at ${PER_SECOND} writes/s`;
    frame.measure(`found by who asks, ${at}`, percentile(sampled, quantile) / 1_000, "s", {
      below: bar,
    });
    frame.measure(`waited, as status says, ${at}`, waitedQuantile(waited, quantile / 100)!, "s", {
      below: bar,
    });
  }
  frame.measure("looked for", sampled.length, "objects");
}

const LOOK_MS = 25;
const TURN_MS = 10;

/** Begins `perSecond` writes each second; one that is slow does not hold up those after it. */
async function paced(
  perSecond: number,
  endsAt: number,
  write: () => Promise<unknown>,
): Promise<{ reached: number }> {
  const beganAt = performance.now();
  const open = new Set<Promise<unknown>>();
  let begun = 0;
  while (performance.now() < endsAt) {
    const due = ((performance.now() - beganAt) / 1_000) * perSecond;
    for (; begun < due; begun++) {
      const one = write().finally(() => open.delete(one));
      open.add(one);
    }
    await sleep(TURN_MS);
  }
  await Promise.all(open);
  return { reached: begun / ((performance.now() - beganAt) / 1_000) };
}

/** Waits until every mark was applied. */
export async function marksGone(db: Db): Promise<void> {
  await until(
    async () => (await db.query("select from holdfast.index_marks limit 1")).rows.length === 0,
    300_000,
    () => "marks were left",
    50,
  );
}
