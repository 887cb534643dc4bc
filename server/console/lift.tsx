import { Hono } from "hono";
import { NotFound } from "../../contracts/errors.ts";
import { assertMay } from "../auth.ts";
import { formLimit } from "./act-routes.tsx";
import type { Frame, Visit } from "./frame.tsx";
import { number } from "./format.ts";
import { liftAddress, queuedWords } from "./holds.tsx";
import { Ago } from "./pieces.tsx";

/** Lets a held branch go on: a page that asks, and the form that does it. */
export function liftRoutes(frame: Frame): Hono {
  const app = new Hono();
  app.get(
    "/inbox/lift",
    frame.headers,
    frame.visited((visit) => ask(frame, visit)),
  );
  app.post(
    "/inbox/lift",
    frame.headers,
    formLimit,
    frame.posted((visit, form) => lift(frame, visit, form)),
  );
  return app;
}

async function holdOf({ read, url }: Visit) {
  const tenant = url.searchParams.get("tenant") ?? "";
  const branch = url.searchParams.get("branch") ?? "";
  const holds = await read.holdfast.inventory.holds.list();
  const hold = holds.find((one) => one.tenant === tenant && one.branch === branch);
  if (!hold) throw new NotFound("hold", `${tenant}/${branch}`, "it is not held, or no longer");
  return hold;
}

async function ask(frame: Frame, visit: Visit, wrong?: string): Promise<Response> {
  assertMay(visit.caller, "decide");
  const hold = await holdOf(visit);
  const content = (
    <section class="ask">
      <p class="crumbs">
        <a href="/inbox">Inbox</a>
      </p>
      <h1>
        Lift the hold of {hold.tenant} / {hold.branch}?
      </h1>
      <p class="why held">
        Held <Ago at={hold.at} />: {hold.because}.
      </p>
      <ul>
        <li>
          When its window began it held {number(hold.objects)} objects; {number(hold.changed)} of
          them were changed before it was held.
        </li>
        <li>
          {queuedWords(hold.queued)} They are planned, and what rules let through is applied. The
          window counts anew: if as much changes again, it is held again.
        </li>
        <li>What is applied is not taken back by itself.</li>
      </ul>
      <form method="post" action={liftAddress(hold)}>
        <input type="hidden" name="token" value={visit.caller.formToken} />
        <label>
          <span>
            To confirm, type <code>{hold.branch}</code>, the name of the branch
          </span>
          <input name="typed" autocomplete="off" spellcheck={false} size={20} required />
        </label>
        {wrong && (
          <p class="alarm" role="alert">
            {wrong}
          </p>
        )}
        <p class="acts">
          <button class="danger">Lift the hold</button>
          <a href={`/review?${new URLSearchParams({ tenant: hold.tenant, branch: hold.branch })}`}>
            Look at what waits first
          </a>
        </p>
      </form>
    </section>
  );
  return frame.ask(visit, "Lift a hold", "inbox", content, wrong ? 400 : 200);
}

async function lift(frame: Frame, visit: Visit, form: Record<string, string>): Promise<Response> {
  assertMay(visit.caller, "decide");
  const { tenant, branch } = await holdOf(visit);
  if (form["typed"]?.trim() !== branch) {
    return ask(frame, visit, `Not done: type exactly ${branch} to confirm.`);
  }
  await frame.actingAs(visit.caller).inventory.holds.lift({ tenant, branch });
  return visit.c.redirect(`/inbox?${new URLSearchParams({ tenant })}`, 303);
}
