import { z } from "zod";
import {
  BankName,
  DocumentErased,
  DocumentId,
  DocumentSummary,
  DocumentView,
  InBank,
} from "../../contracts/retain.ts";
import { given, tenant, text } from "./parameters.ts";
import { pageOf, route, type Api } from "./route.ts";

const Summary = DocumentSummary.meta({ id: "DocumentSummary" });
const Document = DocumentView.meta({ id: "Document" });
const Erased = DocumentErased.meta({ id: "DocumentErased" });

/** Documents of a bank. Ids are percent-encoded, slashes too. */
export function documentRoutes(api: Api): void {
  const one = {
    path: "/v1/banks/{bank}/documents/{documentId}",
    tag: "documents",
    params: z.strictObject({ bank: BankName, documentId: DocumentId }),
    query: z.strictObject({ tenant }),
  } as const;
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/banks/{bank}/documents",
      id: "listDocuments",
      tag: "documents",
      summary: "Documents of a bank, by id",
      params: z.strictObject({ bank: BankName }),
      query: InBank.extend({ after: text(2_000).optional() }),
      answer: pageOf(Summary).meta({ id: "DocumentPage" }),
    },
    ({ holdfast, params, query }) => holdfast.document.list(params.bank, query),
  );
  route(
    api,
    {
      ...one,
      action: "read",
      method: "get",
      id: "getDocument",
      summary: "A whole document as of one instant: text, parts, chunks, facts",
      answer: Document,
    },
    ({ holdfast, params, query }) =>
      holdfast.document.get(params.bank, params.documentId, given(query)),
  );
  route(
    api,
    {
      ...one,
      action: "erase",
      method: "delete",
      id: "eraseDocument",
      summary: "Erase a document, its payloads and all that was derived from it",
      answer: Erased,
    },
    ({ holdfast, params, query }) =>
      holdfast.document.erase(params.bank, params.documentId, given(query)),
  );
}
