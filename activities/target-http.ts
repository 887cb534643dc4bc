import { createHash } from "node:crypto";
import {
  NO_BRANCH,
  TargetFault,
  type ApplyAnswer,
  type HttpTargetSettings,
  type PlanAnswer,
  type PlanApplyAnswer,
  type TargetApply,
  type TargetEntity,
} from "../contracts/target.ts";
import type { Json } from "../domain/exact-json.ts";
import type { Target, TargetScope } from "../domain/target.ts";
import { isObject, shortly, wireEntity, type JsonObject } from "../domain/target-wire.ts";
import { planAnswer } from "../domain/target-wire-plan.ts";
import { applied, CallAbsent, found, planApplyAnswer, single } from "./target-answers.ts";
import { TargetCalls, type Call, type CallAnswer } from "./target-call.ts";
import { inLanes } from "./target-singles.ts";

/**
 * A target that speaks the bulk contract over HTTP. Whether it has the calls for many is found by using
 * them: where one is absent, entities are asked for one by one until it is time to look again.
 */
export class HttpTarget implements Target {
  readonly settings: HttpTargetSettings;
  readonly #calls: TargetCalls;
  /** Calls that are absent, and until when that is believed. */
  readonly #absent = new Map<string, number>();

  constructor(settings: HttpTargetSettings) {
    this.settings = settings;
    this.#calls = new TargetCalls(settings);
  }

  /** HTTP calls made so far. */
  get callsMade(): number {
    return this.#calls.made;
  }

  async plan(
    entities: readonly TargetEntity[],
    scope: TargetScope,
    signal: AbortSignal,
  ): Promise<PlanAnswer[]> {
    const { registry } = scope;
    const body = { entities: entities.map((one) => wireEntity(registry, one)) };
    const answer = await this.#bulk("bulk-plan/", body, scope, signal, { harmless: true });
    if (answer) {
      const results = found(
        answer,
        entities.map(({ id }) => id),
        "bulk-plan/",
        true,
      );
      return entities.map((one) => planAnswer(registry, one, results.get(one.id)!));
    }
    return inLanes<TargetEntity, PlanAnswer>(entities, async (one) => {
      const { id: _, ...body } = wireEntity(registry, one);
      const call = { ...post("generate-diff/", body, scope), harmless: true };
      const { body: said } = await this.#calls.make(call, signal, [400]);
      return planAnswer(registry, one, single("generate-diff/", said, one.id));
    });
  }

  async apply(
    applies: readonly TargetApply[],
    scope: TargetScope,
    signal: AbortSignal,
  ): Promise<ApplyAnswer[]> {
    const { registry } = scope;
    const sets = applies.map(({ key, plan }) => ({ id: key, changes: plan.handle as Json }));
    const keys = applies.map(({ key }) => key);
    const headers = { "idempotency-key": keys.length === 1 ? keys[0]! : digestOf(keys) };
    const answer = await this.#bulk("bulk-apply/", { change_sets: sets }, scope, signal, {
      harmless: false,
      headers,
    });
    if (answer) {
      const results = found(answer, keys, "bulk-apply/", false);
      return applies.map(({ key, plan }) => applied(registry, plan, results.get(key)!));
    }
    return inLanes<TargetApply, ApplyAnswer>(applies, async ({ key, plan }, no) => {
      const call = post("apply-change-set/", sets[no]!, scope, { "idempotency-key": key });
      const { body } = await this.#calls.make(call, signal, [400]);
      return applied(registry, plan, single("apply-change-set/", body, key));
    });
  }

  async planApply(
    entities: readonly TargetEntity[],
    scope: TargetScope,
    key: string,
    signal: AbortSignal,
  ): Promise<PlanApplyAnswer[]> {
    const { registry } = scope;
    const body = { entities: entities.map((one) => wireEntity(registry, one)) };
    const path = "bulk-plan-apply/";
    const answer = await this.#bulk(path, body, scope, signal, {
      harmless: false,
      headers: { "idempotency-key": key },
    });
    if (!answer) throw new CallAbsent(path);
    const results = found(
      answer,
      entities.map(({ id }) => id),
      path,
      false,
    );
    return entities.map((one) => planApplyAnswer(registry, one, results.get(one.id)!));
  }

  /** Whether planning and applying in one call is worth a try. */
  hasPlanApply(): boolean {
    return !this.#isAbsent("bulk-plan-apply/");
  }

  async defaultBranch(signal: AbortSignal): Promise<string> {
    const call = { method: "GET" as const, path: "default-branch/", harmless: true };
    const { status, body } = await this.#calls.make(call, signal, [404]);
    if (status === 404) return NO_BRANCH;
    const branch = isObject(body) ? body["branch"] : undefined;
    if (branch === null) return NO_BRANCH;
    const id = isObject(branch) ? branch["id"] : undefined;
    if (typeof id === "string" && id !== "") return id;
    throw new TargetFault(
      "refused",
      `the target broke the contract: default-branch/ says ${shortly(body)}, not { "branch": { "id", "name" } | null }`,
    );
  }

  close(): Promise<void> {
    return this.#calls.close();
  }

  /** Undefined when the target has no such call. */
  async #bulk(
    path: string,
    body: JsonObject,
    scope: TargetScope,
    signal: AbortSignal,
    { harmless, headers }: { harmless: boolean; headers?: Record<string, string> },
  ): Promise<CallAnswer | undefined> {
    if (this.#isAbsent(path)) return undefined;
    const call = { ...post(path, body, scope, headers), harmless };
    const answer = await this.#calls.make(call, signal, [404]);
    if (answer.status !== 404) return answer;
    this.#absent.set(path, performance.now() + this.settings.detectAgainMs);
    return undefined;
  }

  #isAbsent(path: string): boolean {
    return (this.#absent.get(path) ?? -Infinity) > performance.now();
  }
}

function post(
  path: string,
  body: JsonObject,
  { branch, beforeSend }: TargetScope,
  headers: Record<string, string> = {},
): Call {
  const all = { ...headers };
  if (branch !== NO_BRANCH) all["x-netbox-branch"] = branch;
  return { method: "POST", path, body, headers: all, harmless: false, beforeSend };
}

function digestOf(keys: readonly string[]): string {
  return createHash("sha256").update(keys.join("\n")).digest("hex");
}
