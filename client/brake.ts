import { InvalidInput, NotFound } from "../contracts/errors.ts";
import { Reason } from "../contracts/operation.ts";
import { unstorable } from "../contracts/text.ts";
import { insertAudit } from "../db/audit.ts";
import {
  BRAKE_TARGETS,
  liftBrake,
  listBrakes,
  setBrake,
  type BrakeRow,
  type BrakeTarget,
} from "../db/brakes.ts";
import { asking, assertEveryTenant, assertTenant, maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/**
 * Brakes hold back everything they apply to, for incidents. Nothing is lost while one is set. Who is
 * held to some tenants sets brakes on those and their banks, and sees these and the general ones.
 */
export interface BrakeClient {
  /** `name`: a kind, a tenant, `tenant/bank` for a scope; empty for `all`. */
  set(appliesTo: BrakeTarget, name: string, reason: string): Promise<BrakeRow[]>;
  /** @throws NotFound */
  lift(appliesTo: BrakeTarget, name: string): Promise<BrakeRow[]>;
  list(): Promise<BrakeRow[]>;
}

export function brakeClient(context: Context): BrakeClient {
  const { db, actor } = context;
  return {
    set: (appliesTo, name, reason) =>
      asking(async () => {
        assertBrake(appliesTo, name);
        assertOwn(context, appliesTo, name);
        const why = parseInput(Reason, reason, "reason");
        await db.transaction(async (tx) => {
          if (!(await setBrake(tx, { appliesTo, name, reason: why, by: actor }))) return;
          await insertAudit(tx, {
            actor,
            action: "brake.set",
            tenant: tenantOf(appliesTo, name) ?? "",
            subject: `${appliesTo}/${name}`,
            after: { reason: why },
          });
        });
        return visible(context);
      }),
    lift: (appliesTo, name) =>
      asking(async () => {
        assertBrake(appliesTo, name);
        assertOwn(context, appliesTo, name);
        await db.transaction(async (tx) => {
          if (!(await liftBrake(tx, appliesTo, name))) {
            throw new NotFound("brake", `${appliesTo} ${name}`.trim(), 'see "holdfast brake list"');
          }
          await insertAudit(tx, {
            actor,
            action: "brake.lift",
            tenant: tenantOf(appliesTo, name) ?? "",
            subject: `${appliesTo}/${name}`,
          });
        });
        return visible(context);
      }),
    list: () => asking(() => visible(context)),
  };
}

function tenantOf(appliesTo: BrakeTarget, name: string): string | undefined {
  if (appliesTo === "tenant") return name;
  return appliesTo === "scope" ? name.split("/", 1)[0] : undefined;
}

function assertOwn(context: Context, appliesTo: BrakeTarget, name: string): void {
  const tenant = tenantOf(appliesTo, name);
  if (tenant === undefined) assertEveryTenant(context);
  else assertTenant(context, tenant);
}

async function visible(context: Context): Promise<BrakeRow[]> {
  return (await listBrakes(context.db)).filter((brake) => {
    const tenant = tenantOf(brake.applies_to, brake.name);
    return tenant === undefined || maySee(context, tenant);
  });
}

function assertBrake(appliesTo: string, name: string): void {
  if (!BRAKE_TARGETS.includes(appliesTo as BrakeTarget)) {
    throw new InvalidInput([
      { path: "appliesTo", message: `must be one of ${BRAKE_TARGETS.join(", ")}` },
    ]);
  }
  if ((appliesTo === "all") !== (name === "")) {
    throw new InvalidInput([
      {
        path: "name",
        message: appliesTo === "all" ? "must be empty for all" : "must not be empty",
      },
    ]);
  }
  const why = unstorable(name);
  if (why) throw new InvalidInput([{ path: "name", message: why }]);
}
