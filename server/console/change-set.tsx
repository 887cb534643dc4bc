import type { Change } from "../../contracts/inventory.ts";
import type { Registry } from "../../domain/registry.ts";
import { ChangeDiff, KindBadge } from "./change-diff.tsx";
import { nameIn } from "./field-value.tsx";
import { counted, number } from "./format.ts";
import { objectAddress } from "./inventory-address.ts";

/** Changes that are opened without being asked. */
const OPENED = 6;
const SHOWN = 200;

/** All objects of a change set, in the order they are written. */
export function ChangeList(props: {
  changes: readonly Change[];
  registry: Registry | undefined;
  open?: boolean;
  /** They were applied. */
  done?: boolean;
}) {
  const { changes, registry, open = true, done = false } = props;
  const real = changes.filter(({ kind }) => kind !== "noop");
  const opened = new Set(open ? real.toSorted(byWeight).slice(0, OPENED) : []);
  return (
    <ol class="changes">
      {changes.slice(0, SHOWN).map((change) => (
        <li>
          <OneChange change={change} registry={registry} open={opened.has(change)} done={done} />
        </li>
      ))}
      {changes.length > SHOWN && (
        <li class="faint">{number(changes.length - SHOWN)} more are not shown here</li>
      )}
    </ol>
  );
}

// What it is about first, then what is there already: that is where a mistake hurts.
function byWeight(a: Change, b: Change): number {
  const weight = ({ primary, kind }: Change) => (primary ? 2 : 0) + (kind === "create" ? 0 : 1);
  return weight(b) - weight(a);
}

function OneChange(props: {
  change: Change;
  registry: Registry | undefined;
  open: boolean;
  done: boolean;
}) {
  const { change, registry, open, done } = props;
  const { kind, type: name, identity, objectId, version, before, after } = change;
  const type = registry?.types.get(name);
  const fields = new Set([...Object.keys(before), ...Object.keys(after)]).size;
  const title = (
    <>
      <KindBadge kind={kind} done={done} />{" "}
      <span class="kind">{(type?.label ?? name).toLowerCase()}</span> {nameIn(identity)}{" "}
    </>
  );
  if (kind === "noop") {
    return (
      <span class="line">
        {title}
        <Place id={objectId} version={version} done={done} />
      </span>
    );
  }
  return (
    <details open={open} class="change">
      <summary>
        {title}
        <span class="faint">{counted(fields, "field")}</span>
      </summary>
      <p>
        <Place id={objectId} version={version} done={done} />
      </p>
      <ChangeDiff
        kind={kind}
        type={type}
        before={before}
        after={after}
        label={`${name} ${nameIn(identity)}`}
      />
    </details>
  );
}

function Place({ id, version, done }: { id: string; version: number; done: boolean }) {
  if (!/^\d+$/.test(id) || (version === 0 && !done)) {
    return <span class="faint">not there yet</span>;
  }
  if (version === 0) {
    return (
      <a class="faint" href={objectAddress(id)}>
        in the inventory
      </a>
    );
  }
  return (
    <a class="faint" href={objectAddress(id)}>
      in the inventory, version {number(version)}
    </a>
  );
}
