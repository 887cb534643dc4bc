import { request, type Dispatcher } from "undici";
import { TargetFault, type HttpTargetSettings } from "../contracts/target.ts";

type ClientCredentials = Extract<NonNullable<HttpTargetSettings["auth"]>, { tokenUrl: string }>;

/** So long before its end a token is not begun with. */
const EARLY_MS = 30_000;
const DEFAULT_LIFE_MS = 300_000;

/**
 * An OAuth2 token got by client credentials (RFC 6749, 4.4), renewed when it ends or is refused. However
 * many ask, one request is on its way. Neither secret nor token is ever part of an error.
 */
export class AccessToken {
  readonly #auth: ClientCredentials;
  readonly #dispatcher: Dispatcher;
  readonly #timeoutMs: number;
  #token: { value: string; goodUntil: number } | undefined;
  #asking: Promise<string> | undefined;

  constructor(auth: ClientCredentials, dispatcher: Dispatcher, timeoutMs: number) {
    this.#auth = auth;
    this.#dispatcher = dispatcher;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws TargetFault when there is none to be had; the reason of `signal` */
  async current(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    if (this.#token && performance.now() < this.#token.goodUntil) return this.#token.value;
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  /** The target refused it. One that was got since then stays. */
  forget(value: string): void {
    if (this.#token?.value === value) this.#token = undefined;
  }

  // Those who wait share it, so it is bounded by its own time and by nobody's signal.
  async #ask(): Promise<string> {
    const { tokenUrl, clientId, clientSecret, scopes } = this.#auth;
    const basic = [clientId, clientSecret].map(encodeURIComponent).join(":");
    const away = (why: string) =>
      new TargetFault("away", `no token from ${new URL(tokenUrl).host}: ${why}`, {
        mayHaveHappened: false,
      });
    let status: number;
    let answer: { access_token?: unknown; expires_in?: unknown };
    try {
      const got = await request(tokenUrl, {
        method: "POST",
        dispatcher: this.#dispatcher,
        signal: AbortSignal.timeout(this.#timeoutMs),
        headers: {
          accept: "application/json",
          "content-type": "application/x-www-form-urlencoded",
          authorization: `Basic ${Buffer.from(basic).toString("base64")}`,
        },
        body: new URLSearchParams({
          grant_type: "client_credentials",
          scope: scopes.join(" "),
        }).toString(),
      });
      status = got.statusCode;
      const text = await got.body.text();
      answer = status === 200 ? (JSON.parse(text) as typeof answer) : {};
    } catch (error) {
      throw away(error instanceof SyntaxError ? "its answer is no JSON" : "it cannot be reached");
    }
    if (status !== 200) {
      throw away(`it answered ${status}: check clientId, clientSecret and scopes`);
    }
    if (typeof answer.access_token !== "string" || answer.access_token === "") {
      throw away("its answer holds no access_token");
    }
    const lifeMs = Number(answer.expires_in) * 1_000 || DEFAULT_LIFE_MS;
    const goodMs = Math.max(lifeMs - EARLY_MS, lifeMs / 2);
    this.#token = { value: answer.access_token, goodUntil: performance.now() + goodMs };
    return answer.access_token;
  }
}
