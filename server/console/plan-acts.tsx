import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { z } from "zod";
import { parseInput } from "../../client/input.ts";
import { Conflict, InvalidInput } from "../../contracts/errors.ts";
import { assertMay } from "../auth.ts";
import type { Frame, Visit } from "./frame.tsx";
import { planBody } from "./plan.tsx";

const limit = bodyLimit({ maxSize: 64 * 1024 });
const Act = z.enum(["approve", "reject"]);

/** The decision about a plan, whole or in part, bound to what was shown. */
export function planActs(frame: Frame): Hono {
  const app = new Hono();
  app.post(
    "/plans/:id/decide",
    frame.headers,
    limit,
    frame.posted((visit, form) => decide(frame, visit, form)),
  );
  return app;
}

async function decide(frame: Frame, visit: Visit, form: Record<string, string>): Promise<Response> {
  assertMay(visit.caller, "decide");
  const id = visit.c.req.param("id")!;
  const act = parseInput(Act, form["act"], "act");
  const reason = form["reason"]?.trim();
  const why = reason ? { reason } : {};
  const { plan, review } = frame.actingAs(visit.caller);
  const wrongBecause = (wrong: string) =>
    frame.show(visit, planBody(visit, frame.deps.settings, id, wrong));
  try {
    const { tenant } = await plan.get(id);
    const picked = Object.entries(form).filter(([name]) => name.startsWith("pick."));
    if (form["hash"] === undefined && picked.length === 0) {
      throw new InvalidInput([{ path: act, message: "none is chosen: choose some first" }]);
    }
    const { decided, refused } =
      form["hash"] === undefined
        ? await review.decide({
            act,
            tenant,
            ids: picked.map(([name]) => name.slice("pick.".length)),
            planHashes: picked.map(([, hash]) => hash),
            ...why,
          })
        : await plan[act](id, { hash: form["hash"], ...why });
    if (refused.length > 0) {
      const first = refused
        .slice(0, 3)
        .map((one) => `entity ${one.id} ${one.why}`)
        .join("; ");
      return await wrongBecause(
        `${decided} decided, ${refused.length} left as they were: ${first}.`,
      );
    }
    return visit.c.redirect(
      `/plans/${id}?${new URLSearchParams({ did: act, decided: String(decided) })}`,
      303,
    );
  } catch (error) {
    // What the plan is by now stands below the reason.
    if (error instanceof Conflict || error instanceof InvalidInput) {
      return wrongBecause(`Not done: ${error.message}.`);
    }
    throw error;
  }
}
