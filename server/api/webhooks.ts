import { z } from "zod";
import {
  DeliveryFilter,
  DeliveryView,
  EventId,
  NewWebhook,
  WebhookAdded,
  WebhookId,
  WebhookView,
} from "../../contracts/webhook.ts";
import { jsonObject } from "../body.ts";
import { tenant } from "./parameters.ts";
import { listOf, pageOf, route, type Api } from "./route.ts";

const Webhook = WebhookView.meta({ id: "Webhook" });
const Added = WebhookAdded.meta({ id: "WebhookAdded" });
const Delivery = DeliveryView.meta({ id: "Delivery" });
const NewWebhookBody = NewWebhook.meta({ id: "NewWebhook" });
const OfWebhook = z.strictObject({ id: WebhookId });

/** Who hears of events, and how each delivery went. */
export function webhookRoutes(api: Api): void {
  const declared = { action: "webhooks", tag: "webhooks" } as const;
  route(
    api,
    {
      ...declared,
      method: "get",
      path: "/v1/webhooks",
      id: "listWebhooks",
      summary: "Webhooks in order of making, without their secrets",
      query: z.strictObject({ tenant }),
      answer: listOf(Webhook).meta({ id: "WebhookList" }),
    },
    async ({ holdfast, query }) => ({
      items: await holdfast.webhook.list(
        query.tenant === undefined ? {} : { tenant: query.tenant },
      ),
    }),
  );
  route(
    api,
    {
      ...declared,
      method: "post",
      path: "/v1/webhooks",
      id: "addWebhook",
      summary: "Subscribe to events; the signing secret is in this answer and nowhere else",
      body: { content: { "application/json": { schema: NewWebhookBody } } },
      answer: Added,
      status: 201,
      also: { 422: { description: "The configuration does not allow the destination" } },
    },
    async ({ c, holdfast }) => {
      const added = await holdfast.webhook.add((await jsonObject(c)) as unknown as NewWebhook);
      c.header("location", `/v1/webhooks/${added.id}`);
      return added;
    },
  );
  route(
    api,
    {
      ...declared,
      method: "get",
      path: "/v1/webhooks/{id}",
      id: "getWebhook",
      summary: "One webhook with how its deliveries stand",
      params: OfWebhook,
      answer: Webhook,
    },
    ({ holdfast, params }) => holdfast.webhook.get(params.id),
  );
  route(
    api,
    {
      ...declared,
      method: "delete",
      path: "/v1/webhooks/{id}",
      id: "removeWebhook",
      summary: "End a subscription; what was on its way is dropped",
      params: OfWebhook,
      answer: z.strictObject({ removed: z.string() }),
    },
    async ({ holdfast, params }) => {
      await holdfast.webhook.remove(params.id);
      return { removed: params.id };
    },
  );
  route(
    api,
    {
      ...declared,
      method: "get",
      path: "/v1/webhooks/{id}/deliveries",
      id: "listDeliveries",
      summary: "Deliveries with every try, newest event first",
      params: OfWebhook,
      query: DeliveryFilter,
      answer: pageOf(Delivery).meta({ id: "DeliveryPage" }),
    },
    ({ holdfast, params, query }) => holdfast.webhook.deliveries(params.id, query),
  );
  route(
    api,
    {
      ...declared,
      method: "post",
      path: "/v1/webhooks/{id}/deliveries/{eventId}/redeliver",
      id: "redeliver",
      summary: "Send an event again, however it ended",
      params: OfWebhook.extend({ eventId: EventId }),
      answer: Delivery,
    },
    ({ holdfast, params }) => holdfast.webhook.redeliver(params.eventId, params.id),
  );
}
