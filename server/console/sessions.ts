import { createHmac, randomBytes } from "node:crypto";
import type { Context } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { SESSION_MS } from "../../client/session.ts";
import { LOCAL, type Principal } from "../auth.ts";
import type { ConsoleDeps } from "../deps.ts";

/** Who looks at a page, and what their forms must carry. */
export interface Caller extends Principal {
  formToken: string;
  /** False for the `local` admin of a server without sign-in. */
  signedIn: boolean;
}

const COOKIE = "holdfast_session";

/** Keeps a session in a cookie that holds a random number and nothing else. */
export class Sessions {
  readonly #deps: ConsoleDeps;
  readonly #localToken = randomBytes(32).toString("base64url");

  constructor(deps: ConsoleDeps) {
    this.#deps = deps;
  }

  /** Begins a session with a presented API key. @throws Unauthorized */
  async begin(c: Context, secret: string): Promise<void> {
    const { token, key } = await this.#deps.holdfast.session.begin(secret);
    this.#deps.log.info({ key: key.name }, "signed in to the console");
    setCookie(c, COOKIE, token, {
      httpOnly: true,
      sameSite: "Strict",
      path: "/",
      maxAge: SESSION_MS / 1_000,
      secure: isHttps(c),
    });
  }

  async end(c: Context): Promise<void> {
    const token = getCookie(c, COOKIE);
    if (token) await this.#deps.holdfast.session.end(token);
    deleteCookie(c, COOKIE, { path: "/" });
  }

  /** Undefined: nobody is signed in. */
  async caller(c: Context): Promise<Caller | undefined> {
    if (this.#deps.settings.auth === "off") {
      return { ...LOCAL, formToken: this.#localToken, signedIn: false };
    }
    const token = getCookie(c, COOKIE);
    if (!token) return undefined;
    const key = await this.#deps.holdfast.session.find(token);
    if (!key) {
      deleteCookie(c, COOKIE, { path: "/" });
      return undefined;
    }
    return {
      name: key.name,
      role: key.role,
      ...(key.tenants ? { tenants: key.tenants } : {}),
      formToken: formTokenOf(token),
      signedIn: true,
    };
  }
}

// Every server makes the same of a session, and what stands in a page leads to no cookie.
function formTokenOf(token: string): string {
  return createHmac("sha256", token).update("form").digest("base64url");
}

function isHttps(c: Context): boolean {
  return c.req.url.startsWith("https:") || c.req.header("x-forwarded-proto") === "https";
}
