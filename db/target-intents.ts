import { randomUUID } from "node:crypto";
import type { ChangeSet } from "../contracts/inventory.ts";
import { beginAttempts, newestChangeSets } from "./apply-attempts.ts";
import type { LeasedEntity } from "./plan-lease.ts";
import { markApplying } from "./plan-lease-hold.ts";
import { insertChangeSets } from "./plan-settle.ts";
import type { Db, Tx } from "./pool.ts";

/** What is written before a call that changes something: whoever comes after asks what became of it. */

/** What rules or people let, on its way. */
export interface Sending {
  entity: LeasedEntity;
  changeSet: ChangeSet;
  rule: string | undefined;
}

/** What may be sent now. */
export interface ToApply {
  entity: LeasedEntity;
  key: string;
  rule: string | undefined;
  changeSet: string;
}

/** The intent of sending these. @throws LeaseLost */
export async function writeIntents(
  tx: Tx,
  token: string,
  sending: readonly Sending[],
  leaseSeconds: number,
): Promise<ToApply[]> {
  const isSame = ({ entity, changeSet }: Sending) =>
    entity.open?.changeSet !== undefined && entity.open.hash === changeSet.hash;
  const fresh = sending.filter((one) => !isSame(one));
  await markApplying(
    tx,
    token,
    sending.map((one) => ({
      id: one.entity.id,
      planHash: isSame(one) ? undefined : one.changeSet.hash,
      rule: one.rule,
    })),
    leaseSeconds,
  );
  await insertChangeSets(
    tx,
    fresh.map(({ entity, changeSet }) => ({ entity: entity.id, changeSet, applied: false })),
  );
  const made = await newestChangeSets(
    tx,
    fresh.map(({ entity }) => entity.id),
  );
  const toApply = sending.map((one): ToApply => {
    const { entity, rule } = one;
    const { open } = entity;
    if (isSame(one)) return { entity, rule, key: open!.key, changeSet: open!.changeSet! };
    return { entity, rule, key: randomUUID(), changeSet: made.get(entity.id)! };
  });
  await beginAttempts(
    tx,
    token,
    toApply.map(({ entity, key, changeSet }) => ({ entity: entity.id, key, changeSet })),
  );
  return toApply;
}

/** The intent of planning and applying these in one call. @throws LeaseLost */
export async function intendAtOnce(
  db: Db,
  token: string,
  entities: readonly LeasedEntity[],
  { key, rule, leaseSeconds }: { key: string; rule: string | undefined; leaseSeconds: number },
): Promise<void> {
  await db.transaction(async (tx) => {
    await markApplying(
      tx,
      token,
      entities.map(({ id }) => ({ id, planHash: undefined, rule })),
      leaseSeconds,
    );
    await beginAttempts(
      tx,
      token,
      entities.map(({ id }) => ({ entity: id, key, changeSet: undefined })),
    );
  });
}
