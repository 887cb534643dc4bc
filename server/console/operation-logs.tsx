import type { LogLine, Page } from "../../contracts/operation.ts";
import { absolute } from "./format.ts";
import type { OperationQuery } from "./operation-query.ts";
import { Empty, Shown, Table, withParams } from "./pieces.tsx";
import type { Part } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

const LEVELS = ["debug", "info", "warn", "error"] as const;

/** Log lines, the newest page of them in order of writing; older ones by link. */
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
              { level: level === "debug" ? undefined : level, before: undefined, did: undefined },
              "logs",
            )}
            {...((query.level ?? "debug") === level ? { "aria-current": "true" } : {})}
          >
            {level === "debug" ? "all levels" : level === "error" ? "error" : `${level} and above`}
          </a>
        ))}
        {query.before && <a href={withParams(url, { before: undefined }, "logs")}>newest</a>}
      </p>
      <Shown part={part}>
        {({ items, next }) =>
          items.length === 0 ? (
            <Empty>
              {query.level || query.before
                ? "No log line matches."
                : "No log line yet; they are kept for 30 days."}
            </Empty>
          ) : (
            <>
              {next && (
                <p class="next">
                  <a href={withParams(url, { before: next, did: undefined }, "logs")}>
                    ↑ Older lines
                  </a>
                </p>
              )}
              <Table
                label="log lines"
                look="wide"
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
            </>
          )
        }
      </Shown>
    </>
  );
}
