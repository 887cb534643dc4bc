import { timingSafeEqual } from "node:crypto";
import type { Context } from "hono";
import { Forbidden } from "../../contracts/errors.ts";
import { ACTIONS, mayDo, type Action } from "../../contracts/roles.ts";
import type { Caller } from "./sessions.ts";

/** What stands before a page and before every form. */

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Without sign-in the address is the only guard, so a name that somebody else points at this machine
 * must not work. @throws Forbidden
 */
export function assertOwnAddress(c: Context, auth: "on" | "off"): void {
  const { hostname } = new URL(c.req.url);
  if (auth === "on" || LOOPBACK.has(hostname)) return;
  throw new Forbidden(
    `sign-in is switched off, so this server answers to localhost only, not to ${hostname}: ` +
      "open it as localhost, or set HOLDFAST_AUTH=on",
  );
}

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

/** @throws Forbidden naming the role that may */
export function assertMay(caller: Caller, action: Action): void {
  if (mayDo(caller.role, action)) return;
  throw new Forbidden(
    `role ${caller.role} may not ${action}: it takes ${ACTIONS[action]}; sign in with another key`,
  );
}
