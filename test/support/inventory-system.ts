import fc from "fast-check";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { connect, Unavailable, type Holdfast } from "../../client/index.ts";
import type { Entity } from "../../contracts/inventory.ts";
import config from "../system/fixtures/inventory.config.ts";
import { inventoryProblems } from "./inventory-checker.ts";
import { seedInventory } from "./inventory-database.ts";
import { feeds, isSmallReference, SMALL_REGISTRY, SMALL_SEED } from "./inventory-feeds.ts";
import type { Random } from "./rounds.ts";
import { startSystem, type System } from "./system.ts";

/** Producers that send random feeds into one branch through the SDK, and workers that bring them home. */
export interface InventorySystem {
  readonly system: System;
  /** A tenant of its own, with the feeds of eight producers in two halves. */
  begin(random: Random): Promise<Campaign>;
  worker(): ReturnType<System["worker"]>;
  stop(): Promise<void>;
}

interface Campaign {
  readonly tenant: string;
  /** Sends one half, all producers at once, each message until it is known to be taken. */
  send(half: 0 | 1): Promise<void>;
  /** Waits until nothing is under way; then the branch is what the oracle says, entity by entity. */
  right(): Promise<void>;
}

const CONFIG = fileURLToPath(new URL("../system/fixtures/inventory.config.ts", import.meta.url));
const PRODUCERS = 8;
const FEEDS_OF_ONE = 4;
/** What is taken in is settled so soon while a worker lives: its heartbeat, a sweep, and a busy machine. */
const SETTLED_WITHIN_MS = 60_000;

export async function inventorySystem(
  options: Parameters<typeof startSystem>[0] = {},
): Promise<InventorySystem> {
  const system = await startSystem(options);
  const { db, stack } = system;
  const holdfast = connect({ databaseUrl: stack.databaseUrl, config });
  let campaigns = 0;
  return {
    system,
    worker: () => system.worker({ config: CONFIG }),
    async begin(random) {
      const tenant = `t${random.seed}-${++campaigns}`;
      const place = { tenant, branch: "main" };
      await seedInventory(db, SMALL_REGISTRY, place, SMALL_SEED);
      const producers = feedsOf(random.seed);
      let sent = 0;
      return {
        tenant,
        async send(half) {
          const taken = await Promise.all(
            producers.map((halves, no) => produce(holdfast, tenant, halves[half], `${half}/${no}`)),
          );
          for (const n of taken) sent += n;
        },
        async right() {
          await system.eventually(
            `everything of ${tenant} has ended`,
            async () => (await underWay(system, tenant)) === 0,
            SETTLED_WITHIN_MS,
          );
          const problems = await inventoryProblems(db, place, {
            registry: SMALL_REGISTRY,
            seed: SMALL_SEED,
            isReference: isSmallReference,
            sent,
          });
          expect(problems).toEqual([]);
        },
      };
    },
    async stop() {
      await holdfast.close();
      await system.stop();
    },
  };
}

/** The feeds of each producer, in two halves; the same seed is the same feeds. */
function feedsOf(seed: number): [Entity[], Entity[]][] {
  const of = fc.array(feeds, { minLength: FEEDS_OF_ONE, maxLength: FEEDS_OF_ONE });
  return fc.sample(of, { numRuns: PRODUCERS, seed }).map((some) => {
    const middle = FEEDS_OF_ONE / 2;
    return [some.slice(0, middle).flat(), some.slice(middle).flat()];
  });
}

const MESSAGE = 5;
const AGAIN_MS = 50;

/**
 * Messages of a few entities; every third is sent once more after it was taken. Answers how many entities
 * were: those that nothing names are rejected.
 */
async function produce(
  { inbox }: Holdfast,
  tenant: string,
  entities: readonly Entity[],
  who: string,
): Promise<number> {
  let sent = 0;
  for (let at = 0; at < entities.length; at += MESSAGE) {
    const message = entities
      .slice(at, at + MESSAGE)
      .map(({ type, fields }) => ({ object_type: type, entity: fields }));
    for (let times = at % (3 * MESSAGE) === 0 ? 2 : 1; times > 0;) {
      try {
        const answer = await inbox.ingest(message, { tenant, messageId: `${who}/${at}` });
        expect(answer.received).toBe(message.length);
        if (--times === 0) sent += answer.accepted + answer.copies;
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        await delay(AGAIN_MS);
      }
    }
  }
  return sent;
}

/** Entities that something still happens to by itself. */
async function underWay({ db }: System, tenant: string): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from holdfast.entities where tenant = $1 and settled_at is null",
    [tenant],
  );
  return rows[0]!.n;
}
