import type { RejectView, RequestDetail } from "../../contracts/inbox.ts";
import type { Page } from "../../contracts/operation.ts";
import type { Body } from "./body.ts";
import type { Visit } from "./frame.tsx";
import { number, shortId } from "./format.ts";
import { Counts, States } from "./inbox.tsx";
import { Fact } from "./operation-header.tsx";
import { Ago, Copy, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Part } from "./reading.ts";

const REJECTS = 50;
const SHOWN_CHARACTERS = 2_000;

/** One message: what it brought, what became of it, and what of it could not be taken. @throws NotFound */
export async function requestBody({ c, read, url }: Visit): Promise<Body> {
  const id = c.req.param("id")!;
  const view = await read.holdfast.inbox.request(id);
  const after = url.searchParams.get("after");
  const rejects =
    view.rejected === 0
      ? undefined
      : await part(() =>
          read.holdfast.inbox.rejects(id, { limit: REJECTS, ...(after && { after }) }),
        );
  return {
    title: `request ${shortId(id)}`,
    at: "inbox",
    ended: view.settled && view.states.open === undefined,
    sections: {
      head: <Head view={view} />,
      ...(rejects ? { rejects: <Rejects part={rejects} url={url} /> } : {}),
    },
  };
}

function Head({ view }: { view: RequestDetail }) {
  const list = `/review?${new URLSearchParams({ tenant: view.tenant, request: view.request })}`;
  return (
    <>
      <p class="crumbs">
        <a href="/inbox">Inbox</a>
      </p>
      <div class="title">
        <h1>
          request <code title={view.request}>…{shortId(view.request)}</code>
        </h1>
        <Copy text={view.request} />
      </div>
      <p>
        <States of={view.states} href={list} />
      </p>
      <dl class="facts">
        <Fact name="Tenant">{view.tenant}</Fact>
        <Fact name="Source">{view.source}</Fact>
        {view.messageId && (
          <Fact name="Message">
            <code>{view.messageId}</code>
          </Fact>
        )}
        {view.by && <Fact name="By">{view.by}</Fact>}
        <Fact name="Taken in">
          <Ago at={view.at} />
        </Fact>
        <Fact name="Entities">
          {number(view.received)}: <Counts of={view} />
        </Fact>
        {view.scope && (
          <Fact name="Snapshot of">
            {view.scope} in {view.branch}
          </Fact>
        )}
        <Fact name="Settled">
          {view.settled ? "yes, nothing of it happens by itself" : "not yet"}
        </Fact>
      </dl>
    </>
  );
}

function Rejects({ part, url }: { part: Part<Page<RejectView>>; url: URL }) {
  return (
    <>
      <h2>What could not be taken</h2>
      <Shown part={part}>
        {({ items, next }) => (
          <>
            <Table
              label="rejects"
              look="wide lines"
              head={
                <>
                  <th class="num">Line</th>
                  <th>Why</th>
                  <th>What came</th>
                </>
              }
            >
              {items.map((reject) => (
                <tr>
                  <td class="num">{number(reject.no)}</td>
                  <td class="words">
                    {reject.issues.map(({ path, message }) => (
                      <span class="line">
                        <code>{path}</code> {message}
                      </span>
                    ))}
                  </td>
                  <td class="log">
                    <Raw text={reject.raw} />
                  </td>
                </tr>
              ))}
            </Table>
            {next && <NextPage href={withParams(url, { after: next }, "rejects")} words="More" />}
          </>
        )}
      </Shown>
    </>
  );
}

function Raw({ text }: { text: string | null }) {
  if (text === null) return <span class="faint">is not kept</span>;
  if (text.length <= 160) return <>{text}</>;
  return (
    <details>
      <summary>{text.slice(0, 120)}…</summary>
      {text.slice(0, SHOWN_CHARACTERS)}
      {text.length > SHOWN_CHARACTERS && `… ${number(text.length)} characters`}
    </details>
  );
}
