import { setTimeout as pause } from "node:timers/promises";
import type { ChangeSet } from "../contracts/inventory.ts";
import {
  NO_BRANCH,
  type ApplyAnswer,
  type LatencyTargetSettings,
  type PlanAnswer,
  type PlanApplyAnswer,
  type TargetApply,
  type TargetEntity,
} from "../contracts/target.ts";
import { planHash } from "../domain/plan-hash.ts";
import type { Target, TargetScope } from "../domain/target.ts";

/**
 * No inventory: every entity is a creation, and every call takes the time that it is told to. What is
 * measured against it is everything but the target.
 */
export class LatencyTarget implements Target {
  readonly settings: LatencyTargetSettings;
  calls = 0;

  constructor(settings: LatencyTargetSettings) {
    this.settings = settings;
  }

  async plan(
    entities: readonly TargetEntity[],
    _: TargetScope,
    signal: AbortSignal,
  ): Promise<PlanAnswer[]> {
    await this.#take(entities.length, signal);
    return entities.map((entity) => ({
      outcome: "planned",
      changeSet: created(entity),
      handle: null,
    }));
  }

  async apply(
    applies: readonly TargetApply[],
    _: TargetScope,
    signal: AbortSignal,
  ): Promise<ApplyAnswer[]> {
    await this.#take(applies.length, signal);
    return applies.map(() => ({ outcome: "applied" }));
  }

  hasPlanApply(): boolean {
    return true;
  }

  async planApply(
    entities: readonly TargetEntity[],
    _: TargetScope,
    __: string,
    signal: AbortSignal,
  ): Promise<PlanApplyAnswer[]> {
    await this.#take(entities.length, signal);
    return entities.map((entity) => ({ outcome: "applied", changeSet: created(entity) }));
  }

  defaultBranch(): Promise<string> {
    return Promise.resolve(NO_BRANCH);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #take(entities: number, signal: AbortSignal): Promise<void> {
    this.calls++;
    const { perCallMs, perEntityMs } = this.settings.latency;
    await pause(perCallMs + perEntityMs * entities, undefined, { signal });
  }
}

function created({ id, type, fields, warnings }: TargetEntity): ChangeSet {
  const changes = [
    {
      no: 0,
      kind: "create" as const,
      type,
      identity: { id },
      objectId: id,
      version: 0,
      before: {},
      after: fields,
      newRefs: [],
      primary: true,
    },
  ];
  return { title: `${type} ${id} created`, changes, hash: planHash(changes), warnings };
}
