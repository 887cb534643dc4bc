import type { MiddlewareHandler } from "hono";
import { HoldfastError } from "../contracts/errors.ts";
import type { ServerSettings } from "./deps.ts";

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Without keys the address is the only guard. A page in somebody's browser could point a name of its
 * own at this machine, or send a form here: neither gets through.
 */
export function guardOpenDoor(auth: ServerSettings["auth"]): MiddlewareHandler {
  return async (c, next) => {
    if (auth === "off") {
      const { host, hostname } = new URL(c.req.url);
      const origin = c.req.header("origin");
      if (!LOOPBACK.has(hostname))
        throw misdirected(`answers to localhost only, not to ${hostname}`);
      if (c.req.header("sec-fetch-site") === "cross-site" || (origin && hostOf(origin) !== host)) {
        throw misdirected("does not answer to pages of other sites");
      }
    }
    await next();
  };
}

function misdirected(why: string): HoldfastError {
  return new HoldfastError(
    "keys-are-off",
    421,
    `keys are switched off, so this server ${why}: set HOLDFAST_AUTH=on to serve others`,
  );
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
