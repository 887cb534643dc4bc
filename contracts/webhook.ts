import { z } from "zod";
import { Tenant } from "./operation.ts";

/** Everything that is told to the outside. */
export const EVENT_TYPES = [
  "operation.finished",
  "operation.waiting",
  "operation.expired",
  "item.quarantined",
  "inventory.held",
  "inventory.overdue",
  "inventory.expired",
  "inventory.quarantined",
  "doctor.finding",
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export const WebhookId = z.uuid({ message: "must be a webhook id (a uuid)" });
export const EventId = z.uuid({ message: "must be an event id (a uuid)" });

/** Bytes of a signing secret: at least 192 bits, at most one block of its hash. */
export const SECRET_BYTES = { min: 24, max: 64 } as const;

/** A signing secret as Standard Webhooks writes it: `whsec_` and base64. */
const Secret = z.string().refine((text) => {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  if (encoded === undefined || encoded.length % 4 !== 0) return false;
  const padding = encoded.endsWith("==") ? 2 : encoded.endsWith("=") ? 1 : 0;
  const bytes = (encoded.length / 4) * 3 - padding;
  return bytes >= SECRET_BYTES.min && bytes <= SECRET_BYTES.max;
}, `must be "whsec_" and the base64 of ${SECRET_BYTES.min} to ${SECRET_BYTES.max} random bytes; leave it out to have one made`);

const Destination = z
  .string()
  .max(2_000, "must be at most 2000 characters")
  .superRefine((text, context) => {
    const why = unfit(text);
    if (why) context.addIssue({ code: "custom", message: why });
  });

function unfit(text: string): string | undefined {
  if (!URL.canParse(text)) return "must be a URL such as https://example.com/hooks";
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return "must begin with https://";
  if (url.username || url.password) return "must not hold a user or password: it is shown in lists";
  if (url.hash) return "must not hold a fragment (#...): it is never sent";
  return undefined;
}

/** A new subscription of one tenant to some types of event. */
export const NewWebhook = z
  .object({
    tenant: Tenant.optional(),
    /** https; plain http only for a host that the configuration names. */
    url: Destination,
    events: z
      .array(z.enum(EVENT_TYPES, { message: `must be one of ${EVENT_TYPES.join(", ")}` }))
      .min(1, "must name at least one type of event")
      .transform((types) => [...new Set(types)]),
    /** Absent: one is made. */
    secret: Secret.optional(),
  })
  .strict();
export type NewWebhook = z.input<typeof NewWebhook>;

/** A webhook as everybody may see it: never its secret. */
export const WebhookView = z.object({
  id: z.string(),
  tenant: z.string(),
  url: z.string(),
  events: z.array(z.enum(EVENT_TYPES)),
  createdBy: z.string(),
  createdAt: z.string(),
  disabledAt: z.string().nullable(),
  disabledReason: z.string().nullable(),
  /** Deliveries on their way, and those given up. */
  pending: z.number().int(),
  dead: z.number().int(),
});
export type WebhookView = z.infer<typeof WebhookView>;

/** What `add` answers: the only time the secret is shown. */
export const WebhookAdded = WebhookView.extend({ secret: z.string() });
export type WebhookAdded = z.infer<typeof WebhookAdded>;

export const DELIVERY_STATES = ["pending", "delivered", "dead"] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

export const DeliveryTry = z.object({
  attempt: z.number().int(),
  at: z.string(),
  /** HTTP status; null when there was no answer. */
  status: z.number().int().nullable(),
  durationMs: z.number().int(),
  error: z.string().nullable(),
});
export type DeliveryTry = z.infer<typeof DeliveryTry>;

/** One event on its way to one webhook. */
export const DeliveryView = z.object({
  eventId: z.string(),
  webhookId: z.string(),
  type: z.enum(EVENT_TYPES),
  at: z.string(),
  operationId: z.string().nullable(),
  state: z.enum(DELIVERY_STATES),
  attempts: z.number().int(),
  /** When it is tried next; null unless pending. */
  nextTryAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  tries: z.array(DeliveryTry),
});
export type DeliveryView = z.infer<typeof DeliveryView>;

export const DeliveryFilter = z
  .object({
    state: z.enum(DELIVERY_STATES).optional(),
    limit: z.coerce.number().int().min(1).max(200).default(50),
    /** The `next` of the page before. */
    after: EventId.optional(),
  })
  .strict();
export type DeliveryFilter = z.input<typeof DeliveryFilter>;

/** The JSON body of the POST. Its signature headers follow the Standard Webhooks specification. */
export interface WebhookMessage {
  /** Of the event: the same in every repeat, so that a receiver can tell one. */
  id: string;
  type: EventType;
  /** ISO instant of the event. */
  at: string;
  tenant: string;
  operationId: string | null;
  data: Record<string, unknown>;
}
