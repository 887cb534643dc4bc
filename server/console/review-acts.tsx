import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { InvalidInput } from "../../contracts/errors.ts";
import { ReviewAct, type Decided } from "../../contracts/review.ts";
import type { Holdfast } from "../../client/index.ts";
import { parseInput } from "../../client/input.ts";
import { assertMay } from "../auth.ts";
import { deviationBody } from "./deviation.tsx";
import type { Frame, Visit } from "./frame.tsx";
import { counted } from "./format.ts";
import { deviationAddress } from "./inventory-address.ts";
import { AllPage, readAll } from "./review-all.tsx";
import { filterOf, filterParams, reviewQuery } from "./review-query.ts";
import { DECISIONS } from "./review-words.ts";

/** A page of chosen ones, each with the hash of its plan. */
const limit = bodyLimit({ maxSize: 64 * 1024 });

type Form = Record<string, string>;

/** Decisions: about those that were chosen, about one, about all that a filter finds. */
export function reviewActs(frame: Frame): Hono {
  const app = new Hono();
  app.post(
    "/review/decide",
    frame.headers,
    limit,
    frame.posted((visit, form) => decideChosen(frame, visit, form)),
  );
  app.get(
    "/review/all",
    frame.headers,
    frame.visited((visit) => askAll(frame, visit)),
  );
  app.post(
    "/review/all",
    frame.headers,
    limit,
    frame.posted((visit, form) => decideAll(frame, visit, form)),
  );
  app.post(
    "/review/:id/decide",
    frame.headers,
    limit,
    frame.posted((visit, form) => decideOne(frame, visit, form)),
  );
  return app;
}

async function decideChosen(frame: Frame, visit: Visit, form: Form): Promise<Response> {
  assertMay(visit.caller, "decide");
  const act = parseInput(ReviewAct, form["act"], "act");
  const back = `/review${searchOf(form["back"])}`;
  const picked = Object.entries(form).flatMap(([name, hash]): [string, string][] =>
    name.startsWith("pick.") ? [[name.slice("pick.".length), hash]] : [],
  );
  if (picked.length === 0) {
    const message = "none is chosen: go back and choose some first";
    throw new InvalidInput([{ path: DECISIONS[act].words, message }]);
  }
  const decided = await decideSeen(frame.actingAs(visit.caller), {
    act,
    tenant: form["tenant"]!,
    picked,
  });
  if (decided.refused.length > 0) return showRefused(frame, visit, act, decided, back);
  return visit.c.redirect(withDone(back, act, decided.decided), 303);
}

interface Seen {
  act: ReviewAct;
  tenant: string;
  /** Ids, each with the hash of the plan that was shown, `none` where there was no plan. */
  picked: readonly (readonly [id: string, hash: string])[];
  reason?: string | undefined;
}

async function decideSeen(holdfast: Holdfast, { picked, reason, ...rest }: Seen): Promise<Decided> {
  const said = { ...rest, ...(reason ? { reason } : {}) };
  const withPlan = picked.filter(([, hash]) => hash !== "none");
  const without = picked.filter(([, hash]) => hash === "none");
  const total: Decided = { decided: 0, refused: [] };
  for (const [some, hashes] of [
    [withPlan, true],
    [without, false],
  ] as const) {
    if (some.length === 0) continue;
    const done = await holdfast.review.decide({
      ...said,
      ids: some.map(([id]) => id),
      ...(hashes ? { planHashes: some.map(([, hash]) => hash) } : {}),
    });
    total.decided += done.decided;
    total.refused.push(...done.refused);
  }
  return total;
}

async function showRefused(
  frame: Frame,
  visit: Visit,
  act: ReviewAct,
  { decided, refused }: Decided,
  back: string,
): Promise<Response> {
  const content = (
    <section class="ask">
      <h1>
        {counted(decided, "deviation")} {DECISIONS[act].done}, {counted(refused.length, "other")}{" "}
        left as {refused.length === 1 ? "it was" : "they were"}
      </h1>
      <ul>
        {refused.map(({ id, why }) => (
          <li>
            <a href={deviationAddress(id)}>Entity {id}</a> {why}.
          </li>
        ))}
      </ul>
      <p>
        <a href={back}>Back to the list</a>
      </p>
    </section>
  );
  return frame.ask(visit, "Decided in part", "review", content, decided > 0 ? 200 : 409);
}

async function decideOne(frame: Frame, visit: Visit, form: Form): Promise<Response> {
  assertMay(visit.caller, "decide");
  const id = visit.c.req.param("id")!;
  const act = parseInput(ReviewAct, form["act"], "act");
  const { tenant } = await visit.read.holdfast.review.get(id);
  const { refused } = await decideSeen(frame.actingAs(visit.caller), {
    act,
    tenant,
    picked: [[id, form["hash"] || "none"]],
    reason: form["reason"]?.trim(),
  });
  if (refused.length === 0) {
    return visit.c.redirect(withDone(deviationAddress(id), act, 1), 303);
  }
  const wrong = `Not done: it ${refused[0]!.why}. This is how it stands now.`;
  return frame.show(visit, deviationBody(visit, id, wrong));
}

async function askAll(frame: Frame, visit: Visit, wrong?: string): Promise<Response> {
  assertMay(visit.caller, "decide");
  const query = reviewQuery(visit.url.searchParams);
  const act = ReviewAct.safeParse(visit.url.searchParams.get("act")).data ?? "approve";
  const found = await readAll(visit.read, query, act);
  const content = (
    <AllPage act={act} query={query} found={found} caller={visit.caller} wrong={wrong} />
  );
  return frame.ask(visit, `${DECISIONS[act].words} all`, "review", content, wrong ? 400 : 200);
}

async function decideAll(frame: Frame, visit: Visit, form: Form): Promise<Response> {
  assertMay(visit.caller, "decide");
  const query = reviewQuery(visit.url.searchParams);
  const act = parseInput(ReviewAct, visit.url.searchParams.get("act"), "act");
  if (form["typed"]?.trim().toLowerCase() !== act) {
    return askAll(frame, visit, `Not done: type exactly ${act} to confirm.`);
  }
  const reason = form["reason"]?.trim();
  const { id } = await frame.actingAs(visit.caller).review.submit({
    act,
    filter: { ...filterOf(query), all: true },
    ...(reason ? { reason } : {}),
  });
  return visit.c.redirect(`/operations/${id}`, 303);
}

/** Where a list is gone back to: nothing but its own filter. */
function searchOf(search: string | undefined): string {
  const params = filterParams(reviewQuery(new URLSearchParams(search ?? "")));
  return params.size > 0 ? `?${params}` : "";
}

function withDone(address: string, act: ReviewAct, decided: number): string {
  const join = address.includes("?") ? "&" : "?";
  return `${address}${join}${new URLSearchParams({ did: act, decided: String(decided) })}`;
}
