import { z } from "zod";
import { parseInput } from "../../client/input.ts";
import { BRAKE_TARGETS, type BrakeRow } from "../../db/brakes.ts";
import { jsonObject } from "../body.ts";
import { text } from "./parameters.ts";
import { listOf, route, type Api } from "./route.ts";

const BrakeView = z
  .object({
    appliesTo: z.enum(BRAKE_TARGETS),
    name: z.string(),
    reason: z.string(),
    setBy: z.string(),
    setAt: z.string(),
  })
  .meta({ id: "Brake" });
const BrakeList = listOf(BrakeView).meta({ id: "BrakeList" });

/** `name`: a kind, a tenant, `tenant/bank` for a scope; empty for `all`. */
const Which = z.strictObject({
  appliesTo: z.enum(BRAKE_TARGETS),
  name: text(1_200).default(""),
});
const NewBrake = Which.extend({ reason: text(500) }).meta({ id: "NewBrake" });

/** Brakes for incidents. */
export function brakeRoutes(api: Api): void {
  const declared = { path: "/v1/brakes", tag: "brakes", answer: BrakeList } as const;
  route(
    api,
    {
      ...declared,
      action: "read",
      method: "get",
      id: "listBrakes",
      summary: "Brakes that are set",
    },
    async ({ holdfast }) => listed(await holdfast.brake.list()),
  );
  route(
    api,
    {
      ...declared,
      action: "brake",
      method: "post",
      id: "setBrake",
      summary: "Hold back everything a brake applies to; nothing is lost while it is set",
      body: { content: { "application/json": { schema: NewBrake } } },
    },
    async ({ c, holdfast }) => {
      const { appliesTo, name, reason } = parseInput(NewBrake, await jsonObject(c));
      return listed(await holdfast.brake.set(appliesTo, name, reason));
    },
  );
  route(
    api,
    {
      ...declared,
      action: "brake",
      method: "delete",
      id: "liftBrake",
      summary: "Lift a brake",
      query: Which,
      also: { 404: { description: "There is no such brake" } },
    },
    async ({ holdfast, query }) => listed(await holdfast.brake.lift(query.appliesTo, query.name)),
  );
}

function listed(rows: readonly BrakeRow[]): z.infer<typeof BrakeList> {
  return {
    items: rows.map((row) => ({
      appliesTo: row.applies_to,
      name: row.name,
      reason: row.reason,
      setBy: row.set_by,
      setAt: row.set_at.toISOString(),
    })),
  };
}
