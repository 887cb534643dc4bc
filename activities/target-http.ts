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
  type TargetError,
} from "../contracts/target.ts";
import type { Json } from "../domain/exact-json.ts";
import type { Registry } from "../domain/registry.ts";
import type { Target, TargetScope } from "../domain/target.ts";
import {
  answerOfChangeSet,
  errorOf,
  isObject,
  isTargetError,
  planAnswer,
  resultsById,
  shortly,
  wireEntity,
  type JsonObject,
} from "../domain/target-wire.ts";
import { TargetCalls, type Call, type CallAnswer } from "./target-call.ts";

/** Calls for one, at once, where the target has none for many. */
const SINGLES = 8;

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

function applied(
  registry: Registry,
  { changeSet }: TargetApply["plan"],
  result: JsonObject | TargetError,
): ApplyAnswer {
  if (isTargetError(result)) return { outcome: "failed", error: result };
  const type = changeSet.changes.at(-1)?.type ?? "";
  const error = errorOf(registry, { type }, result["errors"]);
  return error ? { outcome: "failed", error } : { outcome: "applied" };
}

/** The target has no such call: another way must be gone. Nothing happened. */
export class CallAbsent extends Error {
  override readonly name = "CallAbsent";
  constructor(path: string) {
    super(`the target has no ${path}`);
  }
}

function planApplyAnswer(
  registry: Registry,
  entity: TargetEntity,
  result: JsonObject | TargetError,
): PlanApplyAnswer {
  if (isTargetError(result)) return { outcome: "failed", error: result };
  const errors = result["errors"];
  const split = isObject(errors) ? errors : undefined;
  const ofPlan = errorOf(registry, entity, split && "plan" in split ? split["plan"] : undefined);
  if (ofPlan) return { outcome: "failed", error: ofPlan };
  const ofApply =
    errorOf(registry, entity, split && "apply" in split ? split["apply"] : undefined) ??
    (split && ("plan" in split || "apply" in split)
      ? undefined
      : errorOf(registry, entity, errors));
  const planned = answerOfChangeSet(registry, entity, result["change_set"] ?? null);
  const changeSet = planned.outcome === "planned" ? planned.changeSet : undefined;
  if (ofApply) return { outcome: "failed", error: ofApply, ...(changeSet && { changeSet }) };
  if (planned.outcome === "planned") return { outcome: "applied", changeSet: planned.changeSet };
  // It may have been applied, and what it was is not told.
  if (planned.outcome === "failed")
    return { outcome: "failed", error: { ...planned.error, unknown: true } };
  return { outcome: "unchanged" };
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

function found(
  { body }: CallAnswer,
  ids: readonly string[],
  path: string,
  harmless: boolean,
): Map<string, JsonObject | TargetError> {
  try {
    return resultsById(body, ids);
  } catch (cause) {
    const what = `the target broke the contract at ${path}: ${(cause as Error).message}`;
    throw new TargetFault("refused", what, { mayHaveHappened: !harmless, cause });
  }
}

/** The answer to a call for one, whose id is the target's own to choose. */
function single(path: string, body: Json, id: string): JsonObject | TargetError {
  if (isObject(body)) return { ...body, id };
  const message = `the target broke the contract: ${path} answered ${shortly(body)}`;
  return { message, retry: true, unknown: true };
}

function digestOf(keys: readonly string[]): string {
  return createHash("sha256").update(keys.join("\n")).digest("hex");
}

/**
 * One call for each, a few at a time, answers in order. Who is refused is refused alone; once the target
 * cannot be asked, nobody else is asked for.
 */
async function inLanes<T, A>(
  all: readonly T[],
  ask: (one: T, no: number) => Promise<A>,
): Promise<(A | Failed)[]> {
  const answers: (A | Failed)[] = [];
  let next = 0;
  let away: TargetFault | undefined;
  const lane = async () => {
    while (next < all.length) {
      const no = next++;
      try {
        answers[no] = away ? failed(away, false) : await ask(all[no]!, no);
      } catch (error) {
        if (!(error instanceof TargetFault)) throw error;
        if (error.kind === "away") away = error;
        answers[no] = failed(error, error.mayHaveHappened);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(SINGLES, all.length) }, lane));
  // Nobody's end would be known better for it.
  if (away && answers.every((one) => (one as Failed).error?.away)) throw away;
  return answers;
}

interface Failed {
  outcome: "failed";
  error: TargetError;
}

function failed({ kind, message }: TargetFault, unknown: boolean): Failed {
  const away = kind === "away";
  return { outcome: "failed", error: { message, away, retry: !away, unknown } };
}
