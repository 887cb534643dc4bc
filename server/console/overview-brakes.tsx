import type { BrakeRow } from "../../db/brakes.ts";
import { Ago, Copy, Empty, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";

/** What is held back, why and by whom, as far as it concerns the caller. */
export function Brakes({
  part,
  tenants,
}: {
  part: Part<BrakeRow[]>;
  tenants?: readonly string[] | undefined;
}) {
  return (
    <>
      <h2>Brakes in force</h2>
      <Shown part={part}>
        {(all) => {
          const rows = all.filter((brake) => concerns(brake, tenants));
          if (rows.length === 0) {
            return (
              <Empty command={'holdfast brake set kind retain --reason "..."'}>
                None. In an incident a brake holds work back without losing any:
              </Empty>
            );
          }
          return (
            <Table
              label="brakes"
              look="wide"
              head={
                <>
                  <th>Holds back</th>
                  <th>Why</th>
                  <th>Set by</th>
                  <th>Since</th>
                  <th>To lift it</th>
                </>
              }
            >
              {rows.map((brake) => (
                <tr>
                  <td>{`${brake.applies_to} ${brake.name}`}</td>
                  <td class="words">{brake.reason}</td>
                  <td>{brake.set_by}</td>
                  <td>
                    <Ago at={brake.set_at} />
                  </td>
                  <td>
                    <code class="command">{liftCommand(brake)}</code>
                    <Copy text={liftCommand(brake)} />
                  </td>
                </tr>
              ))}
            </Table>
          );
        }}
      </Shown>
    </>
  );
}

function concerns(brake: BrakeRow, tenants: readonly string[] | undefined): boolean {
  if (tenants === undefined) return true;
  if (brake.applies_to === "tenant") return tenants.includes(brake.name);
  if (brake.applies_to === "scope") return tenants.includes(brake.name.split("/")[0]!);
  return true;
}

function liftCommand(brake: BrakeRow): string {
  return `holdfast brake lift ${brake.applies_to} ${/^[\w./-]*$/.test(brake.name) ? brake.name : `'${brake.name.replaceAll("'", String.raw`'\''`)}'`}`.trim();
}
