import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import { TargetFault, type HttpTargetSettings } from "../contracts/target.ts";
import { parseExactJson, type Json } from "../domain/exact-json.ts";
import { isObject, shortly, wireJson, type JsonObject } from "../domain/target-wire.ts";
import { AccessToken } from "./target-token.ts";

/** One HTTP call of a target: who we are, how long we wait, and what its end means. */

export interface Call {
  method: "GET" | "POST";
  /** Under the target's URL: `bulk-plan/`. */
  path: string;
  body?: JsonObject;
  headers?: Readonly<Record<string, string>>;
  /** True for a call that changes nothing at the target, so that a lost answer loses nothing. */
  harmless: boolean;
  /** Asked at the last moment. @throws to leave it unsent */
  beforeSend?: (() => void) | undefined;
}

export interface CallAnswer {
  status: number;
  body: Json;
}

/** Idle connections that are kept to one host. */
const CONNECTIONS = 100;
const IDLE_MS = 60_000;
const MOST_ANSWER_BYTES = 256 * 1024 * 1024;
const MOST_RETRY_AFTER_MS = 3_600_000;

/** Answers that are told to the caller; all others are faults. */
const ANSWERS: ReadonlySet<number> = new Set([200, 207]);
const AWAY: ReadonlySet<number> = new Set([401, 403, 408, 425, 429, 502, 503, 504]);
/** The other side did not get as far as doing it. */
const NOTHING_HAPPENED: ReadonlySet<number> = new Set([
  400, 401, 403, 404, 405, 413, 415, 422, 425, 429,
]);
/** The call never left us. */
const NOT_SENT: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

export class TargetCalls {
  readonly #settings: HttpTargetSettings;
  readonly #base: string;
  readonly #agent: Agent;
  readonly #token: AccessToken | undefined;
  /** Calls that were made so far, tries after a refused token included. */
  made = 0;
  #nextAt = 0;

  constructor(settings: HttpTargetSettings) {
    this.#settings = settings;
    this.#base = settings.url.endsWith("/") ? settings.url : `${settings.url}/`;
    this.#agent = new Agent({
      connections: CONNECTIONS,
      keepAliveTimeout: IDLE_MS,
      connect: { timeout: Math.min(10_000, settings.requestTimeoutMs) },
      maxResponseSize: MOST_ANSWER_BYTES,
    });
    const { auth } = settings;
    if (auth && "tokenUrl" in auth) {
      this.#token = new AccessToken(auth, this.#agent, settings.requestTimeoutMs);
    }
  }

  /**
   * @param acceptable other states than 200 and 207 that are an answer
   * @throws TargetFault; the reason of `signal`
   */
  async make(
    call: Call,
    signal: AbortSignal,
    acceptable: readonly number[] = [],
  ): Promise<CallAnswer> {
    await this.#pace(signal);
    const first = await this.#token?.current(signal);
    const answer = await this.#once(call, first, signal);
    if (answer.status !== 401 || first === undefined) return this.#judged(call, answer, acceptable);
    // It may have run out, or been taken back: once more with a new one.
    this.#token!.forget(first);
    const second = await this.#token!.current(signal);
    return this.#judged(call, await this.#once(call, second, signal), acceptable);
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #pace(signal: AbortSignal): Promise<void> {
    const { ratePerSecond } = this.#settings;
    if (ratePerSecond === 0) return;
    const now = performance.now();
    const at = Math.max(now, this.#nextAt);
    this.#nextAt = at + 1_000 / ratePerSecond;
    if (at > now) await sleep(at - now, undefined, { signal });
  }

  async #once(call: Call, token: string | undefined, signal: AbortSignal): Promise<RawAnswer> {
    signal.throwIfAborted();
    this.made++;
    const { requestTimeoutMs, auth } = this.#settings;
    const bearer = token ?? (auth && "token" in auth ? auth.token : undefined);
    const timeout = AbortSignal.timeout(requestTimeoutMs);
    const body = call.body && Buffer.from(wireJson(call.body));
    try {
      const {
        statusCode,
        headers,
        body: said,
      } = await request(this.#base + call.path, {
        method: call.method,
        dispatcher: this.#agent,
        signal: AbortSignal.any([signal, timeout]),
        headers: {
          accept: "application/json",
          ...(body && {
            "content-type": "application/json",
            "content-length": String(body.byteLength),
          }),
          ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
          ...call.headers,
        },
        headersTimeout: requestTimeoutMs,
        bodyTimeout: requestTimeoutMs,
        ...(body && { body: Readable.from(lastLook(body, call.beforeSend)) }),
      });
      const text = await said.text();
      const retryAfter = headers["retry-after"];
      return {
        status: statusCode,
        text,
        retryAfter: Array.isArray(retryAfter) ? retryAfter[0] : retryAfter,
      };
    } catch (cause) {
      signal.throwIfAborted();
      const late = timeout.aborted || isTimeout(cause);
      const why = late
        ? `did not answer within ${requestTimeoutMs} ms`
        : `cannot be reached: ${reasonOf(cause)}`;
      throw new TargetFault("away", `the target ${why} (${call.path})`, {
        mayHaveHappened: !call.harmless && !NOT_SENT.has(codeOf(cause)),
        slowDown: late,
        cause,
      });
    }
  }

  #judged(call: Call, answer: RawAnswer, acceptable: readonly number[]): CallAnswer {
    const { status, text } = answer;
    if (ANSWERS.has(status)) return { status, body: parsed(call, answer) };
    if (acceptable.includes(status)) return { status, body: parsedIfJson(text) };
    const said = saidIn(text);
    const mayHaveHappened = !call.harmless && !NOTHING_HAPPENED.has(status);
    const what = `the target answered ${status} to ${call.path}${said === "" ? "" : `: ${said}`}`;
    if (status === 404) {
      throw new TargetFault("away", `${what}: check the url of the target`, { mayHaveHappened });
    }
    if (status === 401 || status === 403) {
      throw new TargetFault("away", `${what}: check the credentials and scopes of the target`, {
        mayHaveHappened,
      });
    }
    throw new TargetFault(AWAY.has(status) ? "away" : "refused", what, {
      mayHaveHappened,
      slowDown: status === 429,
      retryAfterMs: retryAfterMs(answer.retryAfter),
    });
  }
}

/**
 * The body, once it is really written: a process that stood still while its connection was made must
 * not send what is somebody else's by then.
 */
async function* lastLook(body: Buffer, beforeSend: (() => void) | undefined) {
  beforeSend?.();
  yield body;
}

interface RawAnswer {
  status: number;
  text: string;
  retryAfter: string | undefined;
}

function parsed({ path, harmless }: Call, { status, text }: RawAnswer): Json {
  try {
    return parseExactJson(text);
  } catch (cause) {
    const what = `the target broke the contract: its answer ${status} to ${path} is no JSON: ${shortly(text)}`;
    throw new TargetFault("refused", what, { mayHaveHappened: !harmless, cause });
  }
}

function parsedIfJson(text: string): Json {
  try {
    return parseExactJson(text);
  } catch {
    return null;
  }
}

/** The gist of an error answer: `{ errors: { request: { __all__: [...] } } }`, or its text. */
function saidIn(text: string): string {
  const body = parsedIfJson(text);
  if (!isObject(body)) return shortly(text.replaceAll(/<[^>]*>/g, " ").trim());
  return shortly(body["errors"] ?? body["detail"] ?? body["error"] ?? body);
}

function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MOST_RETRY_AFTER_MS) : undefined;
}

function codeOf(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  return code ?? cause?.code;
}

function isTimeout(error: unknown): boolean {
  return ["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"].includes(String(codeOf(error)));
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return shortly(message === "" ? String(codeOf(error)) : message);
}
