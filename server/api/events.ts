import { z } from "@hono/zod-openapi";
import { EVENT_TYPES, type EventRow } from "../../db/events.ts";

export const EventView = z
  .object({
    id: z.string(),
    at: z.string(),
    type: z.enum(EVENT_TYPES),
    tenant: z.string(),
    operationId: z.string().nullable(),
    body: z.record(z.string(), z.unknown()),
  })
  .openapi("Event");

export function eventView(row: EventRow): z.infer<typeof EventView> {
  const { operation_id: operationId, at, ...rest } = row;
  return { ...rest, at: at.toISOString(), operationId };
}
