import type { ChangeCounts } from "../../contracts/review.ts";
import { number } from "./format.ts";

/** `+12 ~3 −1`: objects created, updated and deleted. What is none is left out. */
export function ChangeSum({ counts }: { counts: ChangeCounts }) {
  const parts = [
    ["create", "+", "good", "to create"],
    ["update", "~", "warn", "to update"],
    ["delete", "−", "bad", "to delete"],
  ] as const;
  const shown = parts.filter(([kind]) => counts[kind] > 0);
  if (shown.length === 0) return <span class="faint">nothing</span>;
  return (
    <span class="sum">
      {shown.map(([kind, sign, tone, words]) => (
        <span class={tone} title={`${number(counts[kind])} ${words}`}>
          {sign}
          {number(counts[kind])}
        </span>
      ))}
    </span>
  );
}
