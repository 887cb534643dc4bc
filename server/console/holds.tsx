import type { Hold } from "../../client/inventory-holds.ts";
import { number } from "./format.ts";
import { Ago, Shown } from "./pieces.tsx";
import { part, type Part, type Reading } from "./reading.ts";

export function readHolds({ holdfast }: Reading): Promise<Part<Hold[]>> {
  return part(() => holdfast.inventory.holds.list());
}

/** Branches that wait until somebody has looked, each with its reason; nothing when there is none. */
export function Holds({ part }: { part: Part<Hold[]> }) {
  return (
    <Shown part={part}>
      {(holds) => (
        <>
          {holds.map((hold) => (
            <p class="why held" role="status">
              <strong>
                {hold.tenant} / {hold.branch} is held
              </strong>{" "}
              <Ago at={hold.at} />: {hold.because}. {queuedWords(hold.queued)}{" "}
              <a href={liftAddress(hold)}>Lift…</a>
            </p>
          ))}
        </>
      )}
    </Shown>
  );
}

export function liftAddress({ tenant, branch }: { tenant: string; branch: string }): string {
  return `/inbox/lift?${new URLSearchParams({ tenant, branch })}`;
}

export function queuedWords(queued: number): string {
  if (queued === 0) return "Nothing waits in it at the moment.";
  const n = queued >= 10_000 ? "10,000 or more" : number(queued);
  return `${n} ${queued === 1 ? "entity waits" : "entities wait"} in it.`;
}
