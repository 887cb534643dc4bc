import { z } from "zod";
import { EVENT_TYPES } from "../../contracts/webhook.ts";
import type { EventRow } from "../../db/events.ts";

export const EventView = z
  .object({
    id: z.string(),
    at: z.string(),
    type: z.enum(EVENT_TYPES),
    tenant: z.string(),
    operationId: z.string().nullable(),
    body: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Event" });

export function eventView(row: EventRow): z.infer<typeof EventView> {
  const { operation_id: operationId, at, ...rest } = row;
  return { ...rest, at: at.toISOString(), operationId };
}
