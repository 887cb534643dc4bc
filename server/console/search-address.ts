import type { SearchHit } from "../../contracts/search.ts";
import { documentAddress } from "./bank-address.ts";

/** Where a result is shown: where its type says, or on a page of our own; null for nowhere. */
export function hitAddress({ url, type, title, display }: SearchHit): string | null {
  if (url !== null) return url;
  const shown = (name: string) => display.find((one) => one.name === name)?.value ?? null;
  const document = type === "document" ? title : type === "fact" ? shown("document") : null;
  const bank = shown("bank");
  if (document === null || bank === null) return null;
  return documentAddress(shown("tenant"), bank, document);
}
