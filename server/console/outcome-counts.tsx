import { OUTCOMES, type Outcome } from "../../contracts/operation.ts";
import { number } from "./format.ts";
import { StateBadge } from "./state-badge.tsx";

// What went wrong stands first, where it is seen.
const ORDER = OUTCOMES.toSorted((a, b) => badness(b) - badness(a));
const LEFT_OUT: ReadonlySet<Outcome> = new Set(["unchanged", "superseded"]);

function badness(outcome: Outcome): number {
  return ["cancelled", "blocked", "lost", "failed"].indexOf(outcome);
}

/**
 * How items ended, each count leading to those items. In a row of a list (`brief`) what ended well
 * without writing anything is one number.
 */
export function OutcomeCounts(props: {
  counts: Record<string, number>;
  href: string;
  brief?: boolean;
}) {
  const { counts, href, brief } = props;
  const present = ORDER.filter((outcome) => (counts[outcome] ?? 0) > 0);
  if (present.length === 0) return <span class="faint">none yet</span>;
  const short = brief && present.length > 1;
  const others = short ? present.filter((outcome) => LEFT_OUT.has(outcome)) : [];
  return (
    <span class="outcomes">
      {present
        .filter((outcome) => !others.includes(outcome))
        .map((outcome) => (
          <a class="bare" href={`${href}?outcome=${outcome}#items`}>
            <StateBadge state={outcome} n={number(counts[outcome]!)} />
          </a>
        ))}
      {others.length > 0 && <Others counts={counts} others={others} href={href} />}
    </span>
  );
}

function Others(props: { counts: Record<string, number>; others: Outcome[]; href: string }) {
  const { counts, others, href } = props;
  const n = others.reduce((sum, outcome) => sum + counts[outcome]!, 0);
  const said = others.map((outcome) => `${number(counts[outcome]!)} ${outcome}`).join(", ");
  return (
    <a class="bare quiet" href={`${href}#stages`} title={said} aria-label={said}>
      + {number(n)} other
    </a>
  );
}
