/** Where things of the inventory are shown. */

export interface OfBranch {
  tenant?: string;
  branch?: string;
}

export function branchAddress(
  path: string,
  of: OfBranch,
  more: Record<string, string> = {},
): string {
  const params = new URLSearchParams({ ...of, ...more });
  return params.size > 0 ? `${path}?${params}` : path;
}

export function objectAddress(id: string): string {
  return `/inventory/objects/${id}`;
}

/** One entity, as it is reviewed. */
export function deviationAddress(entity: string): string {
  return `/review/${entity}`;
}

export function requestAddress(request: string): string {
  return `/inbox/requests/${request}`;
}
