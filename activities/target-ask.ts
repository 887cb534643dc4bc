import {
  TargetFault,
  type ApplyAnswer,
  type PlanAnswer,
  type TargetApply,
  type TargetEntity,
  type TargetError,
} from "../contracts/target.ts";
import type { Target, TargetScope } from "../domain/target.ts";

/**
 * Asks a target for many, and finds out who is to blame when it refuses: by halves, so that one among n
 * costs about 2 log2 n calls. Nothing is sent again before the target was asked what became of it.
 */
export interface Asking {
  target: Target;
  scope: TargetScope;
  signal: AbortSignal;
  /** Before every call. @throws when nothing may be asked any more */
  beforeCall: () => void;
}

/** @throws TargetFault when the target is away */
export async function planEach(
  asking: Asking,
  entities: readonly TargetEntity[],
): Promise<Map<string, PlanAnswer>> {
  const answers = new Map<string, PlanAnswer>();
  const ask = async (part: readonly TargetEntity[]): Promise<void> => {
    if (part.length === 0) return;
    asking.beforeCall();
    try {
      const given = await asking.target.plan(part, asking.scope, asking.signal);
      for (const [no, { id }] of part.entries()) answers.set(id, given[no]!);
    } catch (error) {
      if (!isRefused(error)) throw error;
      if (part.length === 1) {
        answers.set(part[0]!.id, {
          outcome: "failed",
          error: { message: error.message, retry: true },
        });
        return;
      }
      const half = Math.ceil(part.length / 2);
      await ask(part.slice(0, half));
      await ask(part.slice(half));
    }
  };
  await ask(entities);
  return answers;
}

export interface ApplyOne extends TargetApply {
  entity: TargetEntity;
}

type ApplyEnd =
  | ApplyAnswer
  /** Its attempt stays open: whoever claims it next asks what became of it. */
  | { outcome: "unknown" };

export interface AppliedEach {
  /** One for each that was asked for. */
  ends: Map<string, ApplyEnd>;
  /** The target went away over it. */
  away: TargetFault | undefined;
}

/** Never throws because of the target: what it did before it went away has happened. */
export async function applyEach(
  asking: Asking,
  applies: readonly ApplyOne[],
): Promise<AppliedEach> {
  const ends = new Map<string, ApplyEnd>();
  let away: TargetFault | undefined;
  const unknown = (part: readonly ApplyOne[]) => {
    for (const { entity } of part) ends.set(entity.id, { outcome: "unknown" });
  };
  const ask = async (part: readonly ApplyOne[]): Promise<void> => {
    if (part.length === 0) return;
    if (away) return unknown(part);
    try {
      asking.beforeCall();
      const answers = await asking.target.apply(part, asking.scope, asking.signal);
      const doubtful: [ApplyOne, TargetError][] = [];
      for (const [no, one] of part.entries()) {
        const answer = answers[no]!;
        if (answer.outcome === "failed" && answer.error.away) unknown([one]);
        else if (answer.outcome === "failed" && answer.error.unknown)
          doubtful.push([one, answer.error]);
        else ends.set(one.entity.id, answer);
      }
      const why = new Map(doubtful.map(([one, error]) => [one.entity.id, error]));
      for (const one of await readBack(doubtful.map(([one]) => one))) {
        ends.set(one.entity.id, { outcome: "failed", error: why.get(one.entity.id)! });
      }
    } catch (error) {
      if (!(error instanceof TargetFault)) throw error;
      if (error.kind === "away") {
        away = error;
        return unknown(part);
      }
      const left = error.mayHaveHappened ? await readBack(part) : part;
      if (part.length === 1) {
        const failed = {
          outcome: "failed",
          error: { message: error.message, retry: true },
        } as const;
        for (const { entity } of left) ends.set(entity.id, failed);
        return;
      }
      const half = Math.ceil(left.length / 2);
      await ask(left.slice(0, half));
      await ask(left.slice(half));
    }
  };
  /** Those that are still to be done as they were planned. What has happened, or changed, has its end. */
  const readBack = async (part: readonly ApplyOne[]): Promise<ApplyOne[]> => {
    if (part.length === 0) return [];
    try {
      const plans = await planEach(
        asking,
        part.map(({ entity }) => entity),
      );
      return part.flatMap((one): ApplyOne[] => {
        const now = plans.get(one.entity.id)!;
        if (now.outcome === "unchanged") ends.set(one.entity.id, { outcome: "applied" });
        else if (now.outcome === "planned" && now.changeSet.hash === one.plan.changeSet.hash) {
          return [{ ...one, plan: { changeSet: one.plan.changeSet, handle: now.handle } }];
        } else unknown([one]);
        return [];
      });
    } catch (error) {
      if (!(error instanceof TargetFault)) throw error;
      away = error;
      unknown(part);
      return [];
    }
  };
  await ask(applies);
  return { ends, away };
}

function isRefused(error: unknown): error is TargetFault {
  return error instanceof TargetFault && error.kind === "refused";
}
