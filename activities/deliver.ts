import { setTimeout as sleep } from "node:timers/promises";
import { Context } from "@temporalio/activity";
import type { HoldfastConfig } from "../contracts/config.ts";
import type { Drained, DrainRef } from "../contracts/messages.ts";
import { insertAudit } from "../db/audit.ts";
import {
  buryUndeliverable,
  claimDeliveries,
  nextDeliveryDue,
  settleDelivery,
  type ClaimedDelivery,
} from "../db/deliveries.ts";
import type { Db } from "../db/pool.ts";
import { markDrainSeen } from "../db/relay.ts";
import { disableWebhook } from "../db/webhooks.ts";
import { afterTry } from "../domain/delivery.ts";
import { beating } from "./heartbeat.ts";
import { postEvent, type PostAnswer } from "./post-event.ts";

export interface DeliverDeps {
  db: Db;
  config: HoldfastConfig;
  log?: { warn(fields: object, message: string): void };
  /** Bound on one send. Default 10,000. */
  sendTimeoutMs?: number;
  /** No send begins later than this after the call. Default 20,000. */
  budgetMs?: number;
}

/** Sends at once, over all webhooks. */
const SENDS = 64;
/** Sends at once to one webhook; one that failed last is down to one until it answers. */
const SENDS_PER_WEBHOOK = 4;
/**
 * A claim ends so long after the longest send: time to write down how it went. Who needs more has the
 * event sent twice, which its id tells, and a success that comes late still counts.
 */
const SETTLE_MS = 3_000;
/** While sends are on their way, others may become due. */
const LOOK_EVERY_MS = 250;

/** Sends events to the webhooks that asked for them: at least once, the event's id tells a repeat. */
export const deliverActivities = (deps: DeliverDeps) => {
  const { db, config, log, sendTimeoutMs = 10_000, budgetMs = 20_000 } = deps;
  const strained = new Set<string>();
  const settings = { db, config, log, sendTimeoutMs, budgetMs, strained };
  return {
    /** Safe to repeat: a try that was cut off is made again when its claim has run out. */
    deliver(ref: DrainRef): Promise<Drained> {
      const run = (signal: AbortSignal) => drain(ref, settings, signal);
      return isInActivity() ? beating(run) : run(new AbortController().signal);
    },
  };
};

function isInActivity(): boolean {
  try {
    return Context.current() !== undefined;
  } catch {
    return false;
  }
}

interface Settings {
  db: Db;
  config: HoldfastConfig;
  log: DeliverDeps["log"];
  sendTimeoutMs: number;
  budgetMs: number;
  /** Webhooks whose last send failed, as this process knows them. */
  strained: Set<string>;
}

async function drain(ref: DrainRef, settings: Settings, signal: AbortSignal): Promise<Drained> {
  const { db } = settings;
  await markDrainSeen(db, ref, false);
  await buryUndeliverable(db);
  const done = await new Round(settings).run(signal);
  const dueIn = await nextDeliveryDue(db);
  const more = dueIn !== undefined && dueIn <= 0;
  await markDrainSeen(db, ref, !more);
  return { done, more, ...(dueIn === undefined ? {} : { nextDueAt: Date.now() + dueIn }) };
}

/** One call's worth of sends. A slow webhook fills its own few places and no others. */
class Round {
  readonly #settings: Settings;
  readonly #endsAt: number;
  readonly #sends = new Set<Promise<void>>();
  readonly #onTheWay = new Map<string, number>();
  #done = 0;
  #fault: unknown;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#endsAt = Date.now() + settings.budgetMs;
  }

  async run(signal: AbortSignal): Promise<number> {
    try {
      while (!signal.aborted && !this.#fault && Date.now() < this.#endsAt) {
        for (const claimed of await this.#claim()) this.#start(claimed);
        if (this.#sends.size === 0) break;
        await Promise.race([...this.#sends, sleep(LOOK_EVERY_MS)]);
      }
    } finally {
      await Promise.all(this.#sends);
    }
    if (this.#fault) throw this.#fault;
    return this.#done;
  }

  async #claim(): Promise<ClaimedDelivery[]> {
    const { db, sendTimeoutMs } = this.#settings;
    const limit = SENDS - this.#sends.size;
    if (limit === 0) return [];
    const leaseMs = sendTimeoutMs + SETTLE_MS;
    return claimDeliveries(db, { limit, each: SENDS_PER_WEBHOOK, room: this.#room(), leaseMs });
  }

  // A strained webhook begins nothing that could outlast the call: the others wait for its end.
  #room(): Map<string, number> {
    const { strained, sendTimeoutMs, budgetMs } = this.#settings;
    const late = Date.now() + Math.min(sendTimeoutMs, budgetMs / 2) > this.#endsAt;
    const room = new Map<string, number>();
    for (const webhook of new Set([...this.#onTheWay.keys(), ...strained])) {
      const places = strained.has(webhook) ? (late ? 0 : 1) : SENDS_PER_WEBHOOK;
      room.set(webhook, Math.max(0, places - (this.#onTheWay.get(webhook) ?? 0)));
    }
    return room;
  }

  #start(claimed: ClaimedDelivery): void {
    const { webhook_id: webhook } = claimed;
    this.#onTheWay.set(webhook, (this.#onTheWay.get(webhook) ?? 0) + 1);
    const send = this.#send(claimed)
      .catch((error: unknown) => void (this.#fault ??= error))
      .finally(() => {
        this.#sends.delete(send);
        this.#onTheWay.set(webhook, this.#onTheWay.get(webhook)! - 1);
      });
    this.#sends.add(send);
  }

  async #send(claimed: ClaimedDelivery): Promise<void> {
    const { config, sendTimeoutMs, strained } = this.#settings;
    const answer = await postEvent({
      url: claimed.url,
      secret: claimed.secret,
      message: {
        id: claimed.event_id,
        type: claimed.type,
        at: claimed.at.toISOString(),
        tenant: claimed.tenant,
        operationId: claimed.operation_id,
        data: claimed.body,
      },
      allow: config.webhooks?.allow,
      timeoutMs: sendTimeoutMs,
    });
    if (answer.error === undefined) strained.delete(claimed.webhook_id);
    else strained.add(claimed.webhook_id);
    await this.#settle(claimed, answer);
    this.#done++;
  }

  async #settle(claimed: ClaimedDelivery, answer: PostAnswer): Promise<void> {
    const { db, log } = this.#settings;
    const verdict = afterTry(claimed.attempt - claimed.forgiven, answer, Math.random());
    await settleDelivery(db, {
      eventId: claimed.event_id,
      webhookId: claimed.webhook_id,
      attempt: claimed.attempt,
      status: answer.status,
      durationMs: answer.durationMs,
      error: answer.error,
      next: verdict,
    });
    if (verdict.state !== "dead") return;
    const { webhook_id: webhook, event_id: event, tenant } = claimed;
    if ("disable" in verdict) {
      const isNews = await disable(db, { id: webhook, tenant });
      if (isNews) log?.warn({ webhook, tenant }, "webhook disabled: its receiver is gone");
    } else {
      log?.warn({ webhook, tenant, event, error: answer.error }, "event given up");
    }
  }
}

async function disable(db: Db, webhook: { id: string; tenant: string }): Promise<boolean> {
  const reason = "its receiver answered 410 Gone";
  return db.transaction(async (tx) => {
    if (!(await disableWebhook(tx, webhook.id, reason))) return false;
    await insertAudit(tx, {
      actor: "deliver",
      action: "webhook.disable",
      tenant: webhook.tenant,
      subject: webhook.id,
      after: { reason },
    });
    return true;
  });
}
