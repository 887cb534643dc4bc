import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { assertMay } from "../auth.ts";
import { ActPage, sampleFor, type ActPageProps } from "./act-page.tsx";
import { ACTS, homeOf, type Act } from "./acts.ts";
import { shortId } from "./format.ts";
import type { Frame, Visit } from "./frame.tsx";

export const formLimit = bodyLimit({ maxSize: 16 * 1024 });

/** Acts on an operation: a page that asks, and the form that does it. */
export function actRoutes(frame: Frame): Hono {
  const app = new Hono();
  for (const act of ACTS) {
    const path = `/operations/:id/${act.name}`;
    app.get(
      path,
      frame.headers,
      frame.visited((visit) => asked(frame, visit, act)),
    );
    app.post(
      path,
      frame.headers,
      formLimit,
      frame.posted((visit, form) => done(frame, visit, act, form)),
    );
  }
  return app;
}

async function asked(frame: Frame, visit: Visit, act: Act, wrong?: string): Promise<Response> {
  const { caller, read } = visit;
  const id = visit.c.req.param("id")!;
  assertMay(caller, act.action);
  const view = await read.holdfast.operation.get(id);
  const props: ActPageProps = { act, view, caller, sample: await sampleFor(act, read, id), wrong };
  const title = `${act.words} ${view.kind} ${shortId(id)}`;
  return frame.ask(
    visit,
    title,
    view.kind === "job" ? "jobs" : "operations",
    <ActPage {...props} />,
    wrong ? 400 : 200,
  );
}

async function done(
  frame: Frame,
  visit: Visit,
  act: Act,
  form: Record<string, string>,
): Promise<Response> {
  const id = visit.c.req.param("id")!;
  assertMay(visit.caller, act.action);
  const view = await visit.read.holdfast.operation.get(id);
  if (act.typed && form["typed"]?.trim().toLowerCase() !== shortId(id)) {
    return asked(frame, visit, act, `Not done: type exactly ${shortId(id)} to confirm.`);
  }
  await act.perform(frame.actingAs(visit.caller), view, form);
  return visit.c.redirect(`${homeOf(view)}?did=${act.name}`, 303);
}
