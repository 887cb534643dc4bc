import { z } from "zod";
import { InvalidInput } from "../../contracts/errors.ts";
import {
  BankErased,
  BankFilter,
  BankName,
  BankView,
  ObservationFilter,
  ObservationView,
} from "../../contracts/retain.ts";
import { given, tenant, text } from "./parameters.ts";
import { pageOf, route, type Api } from "./route.ts";

const Bank = BankView.meta({ id: "Bank" });
const Observation = ObservationView.meta({ id: "Observation" });
const Erased = BankErased.meta({ id: "BankErased" });
const OfBank = z.strictObject({ bank: BankName });

/** Banks: what they hold, and their end. */
export function bankRoutes(api: Api): void {
  const tag = "banks";
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/banks",
      id: "listBanks",
      tag,
      summary: "Banks in order of making, with what each holds",
      query: BankFilter,
      answer: pageOf(Bank).meta({ id: "BankPage" }),
    },
    ({ holdfast, query }) => holdfast.bank.list(query),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/banks/{bank}",
      id: "getBank",
      tag,
      summary: "One bank with what it holds",
      params: OfBank,
      query: z.strictObject({ tenant }),
      answer: Bank,
    },
    ({ holdfast, params, query }) => holdfast.bank.get(params.bank, given(query)),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/banks/{bank}/observations",
      id: "listObservations",
      tag,
      summary: "What was consolidated about each entity, by entity",
      params: OfBank,
      query: ObservationFilter.extend({
        entity: text(1_000).optional(),
        after: text(2_000).optional(),
      }),
      answer: pageOf(Observation).meta({ id: "ObservationPage" }),
    },
    ({ holdfast, params, query }) => holdfast.bank.observations(params.bank, query),
  );
  route(
    api,
    {
      action: "erase",
      method: "delete",
      path: "/v1/banks/{bank}",
      id: "eraseBank",
      tag,
      summary: "Erase a bank with its documents, operations and all that was derived",
      description: "`confirm` repeats the bank's name: this cannot be undone.",
      params: OfBank,
      query: z.strictObject({ tenant, confirm: z.string().optional() }),
      answer: Erased,
    },
    ({ holdfast, params, query: { confirm, ...of } }) => {
      if (confirm !== params.bank) {
        throw new InvalidInput([
          { path: "query: confirm", message: "must repeat the bank's name, this cannot be undone" },
        ]);
      }
      return holdfast.bank.erase(params.bank, given(of));
    },
  );
}
