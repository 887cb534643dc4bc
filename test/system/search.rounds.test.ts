import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { estateSystem, type EstateSystem } from "../support/estate-system.ts";
import { estateWriter } from "../support/estate-writer.ts";
import { rounds } from "../support/rounds.ts";

let estate: EstateSystem;
// What is committed must survive SIGKILL of Postgres.
beforeAll(async () => (estate = await estateSystem({ durability: "durable" })));
beforeEach(() => estate.renew());
afterEach(() => estate.system.tidy());
afterAll(() => estate.stop());

const LONGEST_OUTAGE_MS = 5_000;

rounds(
  "writers killed again and again leave nothing of what they did not commit",
  async (random) => {
    await estate.worker();
    for (let kill = 1; kill <= 5; kill++) {
      const writer = estateWriter(databaseUrl(), random.seed * 10 + kill);
      await writer.wrote(random.between(1, 20));
      await sleep(random.between(0, 50));
      await writer.kill();
    }
    await estate.right();
  },
);

rounds(
  "workers killed at any moment, with nobody there in between, lose no commit",
  async (random) => {
    const writer = estateWriter(databaseUrl(), random.seed);
    for (let kill = 1; kill <= 3; kill++) {
      const worker = await estate.worker();
      await writer.wrote(random.between(1, 20));
      await sleep(random.between(0, 1_500));
      await worker.send("SIGKILL");
      await writer.wrote(random.between(1, 5));
    }
    await writer.kill();
    await estate.worker();
    await estate.right();
  },
);

rounds(
  "writers write on while Temporal is away, and all of it is found when it is back",
  async (random) => {
    const { temporal } = estate.system.stack;
    await estate.worker();
    const writer = estateWriter(databaseUrl(), random.seed);
    await writer.wrote(random.between(1, 10));
    await temporal!.kill("SIGKILL");
    await writer.wrote(random.between(1, 20));
    await sleep(random.between(0, LONGEST_OUTAGE_MS));
    await temporal!.start();
    await writer.wrote(random.between(1, 10));
    await writer.kill();
    await estate.right();
  },
);

rounds(
  "Postgres killed beneath writers and drains is gone on with as if nothing had been",
  async (random) => {
    const { postgres } = estate.system.stack;
    await estate.worker();
    const writer = estateWriter(databaseUrl(), random.seed);
    await writer.wrote(random.between(1, 20));
    await sleep(random.between(0, 500));
    await postgres!.stop("kill");
    await sleep(random.between(0, LONGEST_OUTAGE_MS));
    await postgres!.start();
    await writer.wrote(random.between(1, 10));
    await writer.kill();
    await estate.right();
  },
);

rounds(
  "everything killed at once and started in any order indexes what was committed",
  async (random) => {
    const { postgres, temporal } = estate.system.stack;
    const worker = await estate.worker();
    const writer = estateWriter(databaseUrl(), random.seed);
    await writer.wrote(random.between(5, 20));
    const kills = [
      () => worker.send("SIGKILL"),
      () => writer.kill(),
      () => postgres!.stop("kill"),
      () => temporal!.kill("SIGKILL"),
    ];
    await Promise.all(random.shuffle(kills).map((kill) => kill()));
    const starts = random.shuffle([() => postgres!.start(), () => temporal!.start()]);
    for (const start of starts) await start();
    await estate.worker();
    await estate.right();
  },
);

const databaseUrl = () => estate.system.stack.databaseUrl;
