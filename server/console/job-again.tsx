import type { OperationView } from "../../contracts/operation.ts";
import { ACTIONS } from "../../contracts/roles.ts";
import { unfinished } from "./acts.ts";
import { counted, number } from "./format.ts";

/** Running a job again: over which of its items is for people to say. */

export function JobAgain({ view }: { view: OperationView }) {
  return (
    <ul>
      <li>The items chosen are handed out again, as generation {number(view.generation + 1)}.</li>
      <li>
        All others keep their outcome. What workers still post of this generation comes too late.
      </li>
      <li>Whoever has the role {ACTIONS.cancel} may cancel it again at any time.</li>
    </ul>
  );
}

/** The four choices with their counts; what there is none of cannot be chosen. */
export function RunAgainChoice({ view }: { view: OperationView }) {
  const all = [
    ["unfinished", "All that failed, were lost or were cancelled", unfinished(view)],
    ["failed", "Those that failed or were lost", unfinished(view, ["failed", "lost"])],
    ["remaining", "Those that were cancelled, never worked", unfinished(view, ["cancelled"])],
    ["all", "Every item, whatever came of it; results so far stand no more", view.total],
  ] as const;
  const first = all.find(([, , n]) => n > 0)?.[0];
  return (
    <fieldset>
      <legend>Which items?</legend>
      {all.map(([value, words, n]) => (
        <label class="choice">
          <input
            type="radio"
            name="items"
            value={value}
            checked={value === first}
            disabled={n === 0}
            required
          />{" "}
          {words}: <strong>{counted(n, "item")}</strong>
        </label>
      ))}
    </fieldset>
  );
}
