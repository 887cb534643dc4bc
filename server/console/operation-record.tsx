import type { AuditRow } from "../../db/audit.ts";
import type { DeliveryStatusRow } from "../../db/delivery-status.ts";
import type { EventRow } from "../../db/events.ts";
import { number } from "./format.ts";
import { Ago, Empty, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

const SHOWN_EVENTS = 50;

/** What was told to the outside, and whether it arrived. */
export function Events(props: { events: Part<EventRow[]>; deliveries: Part<DeliveryStatusRow[]> }) {
  return (
    <>
      <h2>Events</h2>
      <Shown part={props.events}>
        {(events) =>
          events.length === 0 ? (
            <Empty>No event yet; one is written when the operation ends.</Empty>
          ) : (
            <Table
              label="events"
              head={
                <>
                  <th>Event</th>
                  <th>When</th>
                  <th>Deliveries</th>
                </>
              }
            >
              {events.slice(-SHOWN_EVENTS).map((event) => (
                <tr>
                  <td>{event.type}</td>
                  <td>
                    <Ago at={event.at} />
                  </td>
                  <td class="words">
                    <Shown part={props.deliveries}>
                      {(all) => (
                        <Deliveries rows={all.filter((row) => row.event_id === event.id)} />
                      )}
                    </Shown>
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Shown>
    </>
  );
}

function Deliveries({ rows }: { rows: DeliveryStatusRow[] }) {
  if (rows.length === 0) return <span class="faint">no webhook asked for it</span>;
  return (
    <ul class="plain-list">
      {rows.map((row) => (
        <li>
          <StateBadge state={row.state} /> {row.url}{" "}
          <span class="faint">
            {row.state === "delivered" ? (
              <Ago at={row.finished_at} />
            ) : (
              <>
                {number(row.attempts)} tries
                {row.error ? `: ${row.error}` : row.status ? `: status ${row.status}` : ""}
                {row.state === "pending" && (
                  <>
                    , next <Ago at={row.due_at} />
                  </>
                )}
              </>
            )}
          </span>
        </li>
      ))}
    </ul>
  );
}

/** Who did what to this operation. */
export function AuditTrail({ part }: { part: Part<AuditRow[]> }) {
  return (
    <>
      <h2>Audit</h2>
      <Shown part={part}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty>Nobody has done anything to this operation.</Empty>
          ) : (
            <Table
              label="audit"
              look="wide"
              head={
                <>
                  <th>When</th>
                  <th>Who</th>
                  <th>Did</th>
                  <th>Before</th>
                  <th>After</th>
                </>
              }
            >
              {rows.map((row) => (
                <tr>
                  <td>
                    <Ago at={row.at} />
                  </td>
                  <td>{row.actor}</td>
                  <td>{row.action}</td>
                  <td class="words">{inWords(row.before)}</td>
                  <td class="words">{inWords(row.after)}</td>
                </tr>
              ))}
            </Table>
          )
        }
      </Shown>
    </>
  );
}

function inWords(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .map(([name, one]) => `${name} ${typeof one === "object" ? JSON.stringify(one) : String(one)}`)
    .join(", ");
}
