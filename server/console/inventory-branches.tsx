import type { InventoryPlace } from "../../db/inventory-look-up.ts";
import type { OfBranch } from "./inventory-address.ts";
import { part, valueOr, type Reading } from "./reading.ts";

export interface Branches {
  /** As the address says; what is absent is the caller's own. */
  of: OfBranch;
  known: readonly InventoryPlace[];
}

/** The branch that an address names, and which there are. Without one, the only one there is. */
export async function readBranches({ holdfast }: Reading, url: URL): Promise<Branches> {
  const tenant = url.searchParams.get("tenant") || undefined;
  const branch = url.searchParams.get("branch") || undefined;
  const known = valueOr(await part(() => holdfast.inventory.branches()), []);
  if (tenant === undefined && branch === undefined && known.length > 0) {
    const usual = known.find((one) => one.tenant === "default") ?? known[0]!;
    return { of: { ...usual }, known };
  }
  return { of: { ...(tenant && { tenant }), ...(branch && { branch }) }, known };
}

/** Links to the branches there are; nothing when there is no choice. */
export function BranchChoice({ branches, action }: { branches: Branches; action: string }) {
  const { of, known } = branches;
  const words = [of.tenant, of.branch].filter(Boolean).join(" / ");
  if (known.length <= 1) return words ? <p class="faint">{words}</p> : null;
  if (known.length <= 8) {
    return (
      <p class="tabs">
        {known.map(({ tenant, branch }) => {
          const here = tenant === of.tenant && branch === of.branch;
          return (
            <a
              href={`${action}?${new URLSearchParams({ tenant, branch })}`}
              {...(here ? { "aria-current": "page" } : {})}
            >
              {tenant} / {branch}
            </a>
          );
        })}
      </p>
    );
  }
  return (
    <form class="filter" method="get" action={action}>
      <label>
        <span>tenant</span>
        <input name="tenant" value={of.tenant ?? ""} size={16} />
      </label>
      <label>
        <span>branch</span>
        <input name="branch" value={of.branch ?? ""} size={16} />
      </label>
      <button>Show</button>
    </form>
  );
}
