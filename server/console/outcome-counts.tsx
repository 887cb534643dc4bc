import { OUTCOMES } from "../../contracts/operation.ts";
import { number } from "./format.ts";
import { StateBadge } from "./state-badge.tsx";

/** How items ended, each count leading to those items. */
export function OutcomeCounts({ counts, href }: { counts: Record<string, number>; href: string }) {
  const present = OUTCOMES.filter((outcome) => (counts[outcome] ?? 0) > 0);
  if (present.length === 0) return <span class="faint">none yet</span>;
  return (
    <span class="outcomes">
      {present.map((outcome) => (
        <a class="bare" href={`${href}?outcome=${outcome}#items`}>
          <StateBadge state={outcome} n={number(counts[outcome]!)} />
        </a>
      ))}
    </span>
  );
}
