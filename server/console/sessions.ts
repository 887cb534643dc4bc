import { createHash, randomBytes } from "node:crypto";
import type { Context } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { LRUCache } from "lru-cache";
import { findApiKey, hashKey } from "../../db/api-keys.ts";
import { LOCAL, type Principal } from "../auth.ts";
import type { ConsoleDeps } from "../deps.ts";

/** Who looks at a page, and what their forms must carry. */
export interface Caller extends Principal {
  formToken: string;
  /** False for the `local` admin of a server without sign-in. */
  signedIn: boolean;
}

interface Session {
  keyHash: Buffer;
  formToken: string;
}

const COOKIE = "holdfast_session";
const LASTS_MS = 12 * 60 * 60 * 1_000;
const MAX_SESSIONS = 10_000;

/**
 * Sessions live in this process: the cookie holds a random number and nothing else, a restart signs
 * everybody out, and the key behind a session is looked up with every request, so that a revoked key
 * ends it at once.
 */
export class Sessions {
  readonly #deps: ConsoleDeps;
  readonly #open = new LRUCache<string, Session>({ max: MAX_SESSIONS, ttl: LASTS_MS });
  readonly #localToken = token();

  constructor(deps: ConsoleDeps) {
    this.#deps = deps;
  }

  /** Begins a session with a presented API key. @throws Unauthorized */
  async begin(c: Context, secret: string): Promise<void> {
    const key = await this.#deps.holdfast.key.verify(secret);
    this.#deps.log.info({ key: key.name }, "signed in to the console");
    const id = token();
    this.#open.set(named(id), { keyHash: hashKey(secret), formToken: token() });
    setCookie(c, COOKIE, id, {
      httpOnly: true,
      sameSite: "Strict",
      path: "/",
      maxAge: LASTS_MS / 1_000,
      secure: isHttps(c),
    });
  }

  end(c: Context): void {
    const id = getCookie(c, COOKIE);
    if (id) this.#open.delete(named(id));
    deleteCookie(c, COOKIE, { path: "/" });
  }

  /** Undefined: nobody is signed in. */
  async caller(c: Context): Promise<Caller | undefined> {
    if (this.#deps.settings.auth === "off") {
      return { ...LOCAL, formToken: this.#localToken, signedIn: false };
    }
    const id = getCookie(c, COOKIE);
    const session = id && this.#open.get(named(id));
    if (!session) return undefined;
    const key = await findApiKey(this.#deps.holdfast.db, session.keyHash);
    if (!key) {
      this.end(c);
      return undefined;
    }
    return {
      name: key.name,
      role: key.role,
      ...(key.tenants ? { tenants: key.tenants } : {}),
      formToken: session.formToken,
      signedIn: true,
    };
  }
}

function token(): string {
  return randomBytes(32).toString("base64url");
}

// The store is looked up by a digest, so the time a lookup takes says nothing about an id.
function named(id: string): string {
  return createHash("sha256").update(id).digest("base64url");
}

function isHttps(c: Context): boolean {
  return c.req.url.startsWith("https:") || c.req.header("x-forwarded-proto") === "https";
}
