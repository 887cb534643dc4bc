import type { FindingRow } from "../../db/findings.ts";
import { counted, number } from "./format.ts";
import { Ago, Empty, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";

/** Is anything wrong: what the doctor found, and what should have begun and has not. */

export const SHOWN_FINDINGS = 50;

/** What a key of some tenants is told instead. */
export function Narrow({ tenants }: { tenants: readonly string[] }) {
  return (
    <p class="faint">
      Showing {tenants.join(", ")}. Findings and queues are shown to keys that see every tenant.
    </p>
  );
}

/** Accepted, due, and not started: where Temporal or the workers are away. */
export function Overdue(props: {
  part: Part<{ n: number; tried: number; oldest: Date | null }>;
  online: number;
}) {
  const { part, online } = props;
  return (
    <Shown part={part}>
      {({ n, tried, oldest }) =>
        n > 0 && (
          <p class="alarm" role="alert">
            <a href="/operations?state=accepted">
              {counted(n, "accepted operation")} {n === 1 ? "has" : "have"} not started
            </a>
            , the oldest due <Ago at={oldest} />.{" "}
            {tried > 0
              ? `The relay has tried ${number(tried)} of them: Temporal does not answer, or no worker takes them.`
              : online === 0
                ? "No worker is online."
                : "Workers are online and have not tried: every place is taken, or their relay hangs."}{" "}
            They are safe in Postgres and start by themselves.
          </p>
        )
      }
    </Shown>
  );
}

const OPERATION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function Findings({ part, examined }: { part: Part<FindingRow[]>; examined: Date | null }) {
  return (
    <>
      <h2>Findings of the doctor</h2>
      <p class="faint">
        {examined ? (
          <>
            It looked last <Ago at={examined} />.
          </>
        ) : (
          "It has not looked yet; a worker has it look every five minutes."
        )}
      </p>
      <Shown part={part}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty command="holdfast doctor">
              {examined ? "Nothing open: no check has found disagreement." : "Nothing is known."} To
              check now:
            </Empty>
          ) : (
            <>
              <Table
                label="findings"
                look="wide"
                head={
                  <>
                    <th>Finding</th>
                    <th>About</th>
                    <th>Repair</th>
                    <th>Since</th>
                  </>
                }
              >
                {rows.slice(0, SHOWN_FINDINGS).map((row) => (
                  <tr>
                    <td class="words">
                      <strong>{row.message}</strong>
                      <br />
                      <span class="faint">{row.check_name}</span>
                    </td>
                    <td class="cut" title={row.subject}>
                      {OPERATION_ID.test(row.subject) ? (
                        <a href={`/operations/${row.subject}`}>{row.subject}</a>
                      ) : (
                        row.subject
                      )}
                    </td>
                    <td class="words">{row.repair ?? <span class="faint">by hand</span>}</td>
                    <td>
                      <Ago at={row.first_seen_at} />
                    </td>
                  </tr>
                ))}
              </Table>
              <p class="faint">
                {rows.length > SHOWN_FINDINGS && `The first ${SHOWN_FINDINGS}. `}
                To repair what can be repaired:{" "}
                <code class="command">holdfast doctor --repair</code>
              </p>
            </>
          )
        }
      </Shown>
    </>
  );
}
