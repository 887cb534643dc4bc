import { timingSafeEqual } from "node:crypto";
import type { Context } from "hono";
import { Forbidden } from "../../contracts/errors.ts";
import type { Caller } from "./sessions.ts";

/** What stands before every form. */

/** A form is sent by a page of this server, whatever its content type. @throws Forbidden */
export function assertSameOrigin(c: Context): void {
  const site = c.req.header("sec-fetch-site");
  if (
    site === undefined
      ? hostOf(c.req.header("origin")) === c.req.header("host")
      : site === "same-origin"
  )
    return;
  throw new Forbidden("this form was sent from another site: open the page here and send it again");
}

function hostOf(origin: string | undefined): string | undefined {
  return origin && URL.canParse(origin) ? new URL(origin).host : "none";
}

/** A form must carry the token of the page it stood on. @throws Forbidden */
export function assertFormToken(caller: Caller, given: unknown): void {
  const sent = Buffer.from(typeof given === "string" ? given : "");
  const expected = Buffer.from(caller.formToken);
  if (sent.length === expected.length && timingSafeEqual(sent, expected)) return;
  throw new Forbidden(
    "this form is from another session: go back, reload the page and send it again",
  );
}
