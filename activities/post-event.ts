import http from "node:http";
import https from "node:https";
import { RequestFilteringHttpAgent, RequestFilteringHttpsAgent } from "request-filtering-agent";
import { Webhook } from "standardwebhooks";
import type { WebhookMessage } from "../contracts/webhook.ts";
import { destinationOf } from "../domain/destination.ts";

/**
 * One signed POST, by the Standard Webhooks specification. Private, loopback and link-local addresses
 * are refused at the moment of connecting, after the name is resolved, so that a name that is moved
 * after it was checked leads nowhere. Redirects are not followed: they would lead around the check.
 */

export interface Post {
  url: string;
  secret: string;
  message: WebhookMessage;
  /** Hosts the configuration names; see `destinationOf`. */
  allow: readonly string[] | undefined;
  /** Bound on everything from the lookup to the end of the answer. */
  timeoutMs: number;
}

export interface PostAnswer {
  status?: number;
  durationMs: number;
  /** Why it does not count as delivered. Nothing of what the receiver answered is kept. */
  error?: string;
}

/** What is read of an answer before the connection is dropped. */
const MAX_ANSWER_BYTES = 65_536;

const publicOnly = {
  "http:": new RequestFilteringHttpAgent(),
  "https:": new RequestFilteringHttpsAgent(),
};
const anywhere = { "http:": new http.Agent(), "https:": new https.Agent() };

/** Never throws: what goes wrong is the answer. */
export async function postEvent(post: Post): Promise<PostAnswer> {
  const startedAt = performance.now();
  const durationMs = () => Math.round(performance.now() - startedAt);
  try {
    const status = await send(post);
    if (status >= 200 && status < 300) return { status, durationMs: durationMs() };
    const redirect = status >= 300 && status < 400 ? "; redirects are not followed" : "";
    return { status, durationMs: durationMs(), error: `answered ${status}${redirect}` };
  } catch (error) {
    return { durationMs: durationMs(), error: explained(error, post.timeoutMs) };
  }
}

async function send({ url, secret, message, allow, timeoutMs }: Post): Promise<number> {
  const destination = destinationOf(url, allow);
  if (!destination.allowed) throw new Error(destination.reason);
  const target = new URL(url);
  const protocol = target.protocol as "http:" | "https:";
  const body = JSON.stringify(message);
  const sentAt = new Date();
  const signal = AbortSignal.timeout(timeoutMs);
  const request = (protocol === "https:" ? https : http).request(target, {
    method: "POST",
    agent: (destination.named ? anywhere : publicOnly)[protocol],
    signal,
    headers: {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "user-agent": "holdfast",
      "webhook-id": message.id,
      "webhook-timestamp": Math.floor(sentAt.getTime() / 1_000),
      "webhook-signature": new Webhook(secret).sign(message.id, sentAt, body),
    },
  });
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once("response", resolve).on("error", reject).end(body);
  });
  await drained(answer, signal);
  return answer.statusCode!;
}

// The status is known by now: an answer that goes on too long, or breaks off, changes nothing.
function drained(answer: http.IncomingMessage, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    answer.on("data", (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > MAX_ANSWER_BYTES) answer.destroy();
    });
    answer.on("error", () => undefined);
    answer.once("close", resolve);
    signal.addEventListener("abort", () => answer.destroy(), { once: true });
  });
}

function explained(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "AbortError" || error.name === "TimeoutError") {
    return `no answer within ${timeoutMs / 1_000} s`;
  }
  const { code } = error as { code?: string };
  return error.message || code || error.name;
}
