import type { LogLine, Page } from "../../contracts/operation.ts";
import { absolute } from "./format.ts";
import type { OperationQuery } from "./operation-query.ts";
import { Empty, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Part, type Reading } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

const LOG_LINES = 100;

/** The lines that the address asks for; without a place in it, the newest. */
export function readLogs(
  { holdfast }: Reading,
  id: string,
  { level, before, newerThan }: OperationQuery,
): Promise<Part<Page<LogLine>>> {
  return part(() =>
    holdfast.operation.logs(id, {
      newest: newerThan === undefined,
      limit: LOG_LINES,
      ...(level && { level }),
      ...(before && { before }),
      ...(newerThan && { after: newerThan }),
    }),
  );
}

const LEVELS = ["debug", "info", "warn", "error"] as const;

const PLACE = { before: undefined, newerThan: undefined, did: undefined };

/** Log lines in order of writing, the newest page of them; older and newer ones by link. */
export function Logs(props: { part: Part<Page<LogLine>>; query: OperationQuery; url: URL }) {
  const { part, query, url } = props;
  return (
    <>
      <h2>Logs</h2>
      <p class="tabs">
        {LEVELS.map((level) => (
          <a
            href={withParams(
              url,
              { ...PLACE, level: level === "debug" ? undefined : level },
              "logs",
            )}
            {...((query.level ?? "debug") === level ? { "aria-current": "true" } : {})}
          >
            {level === "debug" ? "all levels" : level === "error" ? "error" : `${level} and above`}
          </a>
        ))}
        {(query.before || query.newerThan) && <a href={withParams(url, PLACE, "logs")}>newest</a>}
      </p>
      <Shown part={part}>
        {({ items, next }) =>
          items.length === 0 ? (
            <Empty>
              {query.level || query.before || query.newerThan
                ? "No log line matches."
                : "No log line yet; they are kept for 30 days."}
            </Empty>
          ) : (
            <>
              {(query.newerThan ?? next) && (
                <p class="next">
                  <a href={withParams(url, { ...PLACE, before: items[0]!.seq }, "logs")}>
                    ↑ Older lines
                  </a>
                </p>
              )}
              <Table
                label="log lines"
                look="wide hits lines"
                head={
                  <>
                    <th>Time, UTC</th>
                    <th>Level</th>
                    <th>Message</th>
                  </>
                }
              >
                {items.map((line) => (
                  <tr>
                    <td class="num">
                      <time datetime={line.at} title={absolute(new Date(line.at))} data-fixed>
                        {line.at.slice(11, 23)}
                      </time>
                    </td>
                    <td>
                      <StateBadge state={line.level} />
                    </td>
                    <td class="words log">
                      {line.message}
                      {line.fields && <code class="fields">{JSON.stringify(line.fields)}</code>}
                    </td>
                  </tr>
                ))}
              </Table>
              {(query.newerThan ? next : query.before) && (
                <p class="next">
                  <a href={withParams(url, { ...PLACE, newerThan: items.at(-1)!.seq }, "logs")}>
                    ↓ Newer lines
                  </a>
                </p>
              )}
            </>
          )
        }
      </Shown>
    </>
  );
}
