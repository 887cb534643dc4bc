/** Where a bank and its documents are shown. Names may hold anything, slashes too. */

export function bankAddress(tenant: string | null, bank: string): string {
  return `/banks/${encodeURIComponent(bank)}${of(tenant)}`;
}

export function documentAddress(tenant: string | null, bank: string, documentId: string): string {
  return `/banks/${encodeURIComponent(bank)}/documents/${encodeURIComponent(documentId)}${of(tenant)}`;
}

function of(tenant: string | null): string {
  return tenant ? `?${new URLSearchParams({ tenant })}` : "";
}
