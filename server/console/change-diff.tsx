import type { ChangeKind, Fields } from "../../contracts/inventory.ts";
import type { InventoryType } from "../../domain/registry.ts";
import { FieldName, Value } from "./field-value.tsx";
import { StateBadge } from "./state-badge.tsx";

/** What a change does to one object, field by field: before beside after. */
export function ChangeDiff(props: {
  kind: ChangeKind;
  type: InventoryType | undefined;
  before: Fields;
  after: Fields;
  label: string;
}) {
  const { kind, type, before, after, label } = props;
  // Where nothing stands beside it, all of it is new, or gone.
  const marked = (how: "added" | "removed") => (kind === "update" ? { how } : {});
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  if (names.length === 0) return <p class="faint">No field of it changes.</p>;
  return (
    <div class="scroll wide diff" tabindex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            <th>Field</th>
            {kind === "update" && <th>Change</th>}
            {kind !== "create" && <th>Before</th>}
            {kind !== "delete" && <th>After</th>}
          </tr>
        </thead>
        <tbody>
          {names.map((name) => {
            const field = type?.fields.get(name);
            const [old, fresh] = [before[name], after[name]];
            return (
              <tr>
                <th scope="row">
                  <FieldName type={type} name={name} />
                </th>
                {kind === "update" && (
                  <td>
                    <StateBadge state={changeOf(old, fresh)} />
                  </td>
                )}
                {kind !== "create" && (
                  <td class="value" data-label="before">
                    {old === undefined ? (
                      <span class="faint">nothing</span>
                    ) : (
                      <Value field={field} value={old} other={fresh} {...marked("removed")} />
                    )}
                  </td>
                )}
                {kind !== "delete" && (
                  <td class="value" data-label="after">
                    {fresh === undefined ? (
                      <span class="faint">nothing</span>
                    ) : (
                      <Value field={field} value={fresh} other={old} {...marked("added")} />
                    )}
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function changeOf(before: unknown, after: unknown): string {
  if (before === undefined) return "added";
  return after === undefined ? "removed" : "changed";
}

const DONE: Record<ChangeKind, string> = {
  create: "created",
  update: "updated",
  delete: "deleted",
  noop: "as it is",
};

/** What becomes of an object, or has become of it, as word, shape and colour. */
export function KindBadge({ kind, done = false }: { kind: ChangeKind; done?: boolean }) {
  return <StateBadge state={done || kind === "noop" ? DONE[kind] : kind} />;
}
