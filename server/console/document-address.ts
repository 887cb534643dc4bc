/** Where a bank and its documents are shown. Names may hold anything, slashes too. */

export function bankAddress(tenant: string, bank: string): string {
  return `/banks/${encodeURIComponent(bank)}?${new URLSearchParams({ tenant })}`;
}

export function documentAddress(tenant: string, bank: string, documentId: string): string {
  return `/banks/${encodeURIComponent(bank)}/documents/${encodeURIComponent(documentId)}?${new URLSearchParams({ tenant })}`;
}
