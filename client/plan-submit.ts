import { setImmediate } from "node:timers/promises";
import { v7 as uuidv7 } from "uuid";
import { Conflict, InvalidInput, TooLarge, type InputIssue } from "../contracts/errors.ts";
import { BUILT_IN_TARGET } from "../contracts/inventory-settings.ts";
import type { Fields } from "../contracts/inventory.ts";
import type { Accepted } from "../contracts/operation.ts";
import {
  PLAN_EXPIRES_SECONDS,
  PLAN_LIMITS,
  PlanHeader,
  type PlanOperationMode,
} from "../contracts/plan.ts";
import { registryOf, settingsOf } from "../db/inventory-settings.ts";
import { insertPlan } from "../db/plan-operation.ts";
import { createBatchDigest } from "../domain/digest.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import type { InboxEntry } from "../domain/inbox-entry.ts";
import { titleOfFields } from "../domain/plan-change-set.ts";
import type { Registry } from "../domain/registry.ts";
import { accept, type SubmitOptions } from "./accept.ts";
import { assertTenant, defaultTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { memorySpool } from "./payload-spool.ts";
import {
  linesIn,
  readInboxEntity,
  readInboxLine,
  type Read,
  type ReadOptions,
} from "./inbox-lines.ts";

/** Hands in a change request: entities in the call, or as lines. One that is wrong refuses all. */

/** Entities between which the process may do something else. */
const AT_ONCE = 100;
/** Items of one sub-batch. */
const SUB_BATCH = 1_000;

export async function submitPlan(
  context: Context,
  entities: readonly unknown[],
  header: PlanHeader,
  options: SubmitOptions,
): Promise<Accepted> {
  const plan = await NewPlan.of(context, header);
  if (!Array.isArray(entities)) {
    throw new InvalidInput([{ path: "entities", message: "must be a list of entities" }]);
  }
  for (const [no, entity] of entities.entries()) {
    if (no % AT_ONCE === AT_ONCE - 1) await setImmediate();
    plan.add(readInboxEntity(plan.reading, entity, no + 1), `entities[${no}]`);
  }
  return plan.accept(options);
}

export async function submitPlanLines(
  context: Context,
  source: AsyncIterable<Uint8Array | string>,
  header: PlanHeader,
  options: SubmitOptions,
): Promise<Accepted> {
  const plan = await NewPlan.of(context, header);
  for await (const line of linesIn(source)) {
    if (line.no % AT_ONCE === AT_ONCE - 1) await setImmediate();
    plan.add(readInboxLine(plan.reading, line), `line ${line.no}`);
  }
  return plan.accept(options);
}

interface Asked {
  tenant: string;
  branch: string;
  mode: PlanOperationMode;
  key?: string | undefined;
  expiresInSeconds: number;
}

/** Wrong entities that are named in one refusal; the rest shows when these are mended. */
const MOST_ISSUES = 100;

/** One plan on its way to being accepted. */
class NewPlan {
  /** How its entities are read. */
  readonly reading: ReadOptions;
  readonly #context: Context;
  readonly #asked: Asked;
  readonly #entities: InboxEntry[] = [];
  readonly #issues: InputIssue[] = [];
  #bytes = 0;

  static async of(context: Context, header: PlanHeader): Promise<NewPlan> {
    const { tenant: named, branch, mode, key, expiresInSeconds } = parseInput(PlanHeader, header);
    const tenant = named ?? defaultTenant(context);
    assertTenant(context, tenant);
    const settings = await settingsOf(context.db, context.config, tenant);
    if (settings.target !== BUILT_IN_TARGET) {
      throw new Conflict(
        "target-outside",
        `the target of tenant ${tenant} is ${settings.target}, and plans are for the inventory that is built in: ingest the entities into the inbox and review them there`,
      );
    }
    const place = branch ?? settings.defaultBranch;
    if (place === null) {
      throw new Conflict(
        "branch-unknown",
        `the default branch of tenant ${tenant} is not known yet: name a branch`,
      );
    }
    const expires = expiresInSeconds ?? settings.expireSeconds ?? PLAN_EXPIRES_SECONDS;
    const asked = { tenant, branch: place, mode, key, expiresInSeconds: expires };
    return new NewPlan(context, asked, registryOf(context.config, settings.registry));
  }

  private constructor(context: Context, asked: Asked, registry: Registry) {
    this.#context = context;
    this.#asked = asked;
    this.reading = { registry, snapshot: false };
  }

  add(read: Read, at: string): void {
    if (!read) return;
    if ("reject" in read) return this.#refuse(at, read.reject.issues);
    const { text, branch: named } = read.entry;
    const { branch } = this.#asked;
    if (named !== undefined && named !== branch) {
      const message = `is ${named}, and the plan is for ${branch}: make a plan for each branch`;
      return this.#refuse(at, [{ path: "branch", message }]);
    }
    if (this.#entities.length >= PLAN_LIMITS.entities) {
      const message = `a plan holds at most ${PLAN_LIMITS.entities} entities: make several, or take them in`;
      throw new TooLarge(at, message);
    }
    this.#bytes += Buffer.byteLength(text);
    if (this.#bytes > PLAN_LIMITS.bytes) {
      throw new TooLarge(at, `a plan holds at most ${PLAN_LIMITS.bytes} bytes: make several`);
    }
    this.#entities.push(read.entry);
  }

  #refuse(at: string, issues: readonly InputIssue[]): void {
    if (this.#issues.length >= MOST_ISSUES) return;
    for (const { path, message } of issues) {
      this.#issues.push({ path: path === "line" ? at : `${at}: ${path}`, message });
    }
  }

  accept(options: SubmitOptions): Promise<Accepted> {
    if (this.#issues.length > 0) throw new InvalidInput(this.#issues);
    const entities = this.#entities;
    if (entities.length === 0) {
      throw new InvalidInput([
        { path: "entities", message: "are none: a plan needs at least one" },
      ]);
    }
    const id = uuidv7();
    const { tenant, branch, mode, key, expiresInSeconds } = this.#asked;
    const batches = Array.from({ length: Math.ceil(entities.length / SUB_BATCH) }, (_, no) => {
      const from = no * SUB_BATCH + 1;
      const to = Math.min(entities.length, (no + 1) * SUB_BATCH);
      const bytes = entities.slice(from - 1, to).reduce((sum, { text }) => sum + text.length, 0);
      return { from, to, size: bytes };
    });
    return accept(
      this.#context,
      {
        id,
        kind: "plan",
        tenant,
        scope: branch,
        key,
        digest: this.#digest(),
        priority: 3,
        bytes: this.#bytes,
        input: { branch, mode, expiresInSeconds },
        batches,
        items: entities.map((entity, no) => ({
          key: this.#nameOf(entity),
          size: entity.text.length,
          batch: Math.floor(no / SUB_BATCH) + 1,
        })),
      },
      () => memorySpool().slices(),
      options,
      {
        write: (tx) =>
          insertPlan(tx, { operationId: id, tenant, branch, mode, entities }, this.#context.actor),
      },
    );
  }

  // By the content as it is stored: how it was written down does not matter.
  #digest(): Buffer {
    const { key: _, ...asked } = this.#asked;
    const digest = createBatchDigest({ kind: "plan", ...asked });
    for (const { hash, sourceTime = null } of this.#entities) digest.add([hash, sourceTime]);
    return digest.digest();
  }

  /** `Device sw1`, as lists of items show it. */
  #nameOf({ type: name, text }: InboxEntry): string {
    const type = this.reading.registry.types.get(name)!;
    const title = titleOfFields(type, parseExactJson(text) as Fields, "failed").replace(
      / discovered$/,
      "",
    );
    return [...title].slice(0, 200).join("");
  }
}
